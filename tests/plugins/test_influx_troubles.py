"""What clients meet when the stand-in for InfluxDB is told to be unwell, or gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import urllib3
from influxdb_client_3.exceptions import InfluxDB3ClientQueryError, InfluxDBError

from support.influx_client import connected, http, rows
from support.influx_server import influx_server
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from influxdb_client_3 import InfluxDBClient3

    from support.influx_server import InfluxServer


@pytest.fixture
async def server() -> AsyncIterator[InfluxServer]:
    async with influx_server() as server:
        yield server


@pytest.fixture
def client(server: InfluxServer) -> Iterator[InfluxDBClient3]:
    with connected(server) as client:
        yield client


class TestTrouble:
    @pytest.mark.parametrize("v2", [True, False])
    def test_nobody_without_the_token(self, server: InfluxServer, v2: bool) -> None:
        with connected(server, token="of-another", write_use_v2_api=v2) as client:
            with pytest.raises(InfluxDBError) as refused:
                client.write("m x=1")
            assert refused.value.response.status == 401
            with pytest.raises(InfluxDB3ClientQueryError, match="Unauthenticated"):
                client.query("SELECT 1")
        for path in ("/health", "/api/v3/configure/database?format=json"):
            assert urllib3.request("GET", server.url + path, retries=False).status == 401
        assert (server.writes, server.queries) == (0, 0)

    async def test_what_was_written_outlives_an_outage(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        client.write("m x=1")
        client.query("SELECT 1")
        url = server.url
        for _ in range(2):
            await server.stop()
            with pytest.raises(urllib3.exceptions.HTTPError):
                client.write("m x=2")
            with pytest.raises(InfluxDB3ClientQueryError, match=r"[Uu]navailable"):
                client.query("SELECT 1")
            await server.start()
        assert server.url == url
        client.write("m x=3")
        with connected(server) as another:
            assert rows(another, "SELECT x FROM m ORDER BY x") == [{"x": 1.0}, {"x": 3.0}]

    async def test_a_write_that_waits_is_lost_in_an_outage(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        client.write("m x=1")
        server.flush_s = 600
        writing = asyncio.ensure_future(asyncio.to_thread(client.write, "m x=2"))
        await until(lambda: server.waiting, every_s=0)
        await server.stop()
        with pytest.raises(urllib3.exceptions.HTTPError):
            await writing
        await server.start()
        await until(lambda: not server.waiting, every_s=0)
        with connected(server) as another:
            assert rows(another, "SELECT x FROM m") == [{"x": 1.0}]

    def test_unavailable(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        server.mood = "unavailable"
        with pytest.raises(InfluxDBError) as refused:
            client.write("m x=1")
        assert refused.value.response.status == 503
        assert http(server, "GET", "/health").status == 503
        with pytest.raises(InfluxDB3ClientQueryError, match=r"[Uu]navailable"):
            client.query("SELECT 1")
        server.mood = "well"
        client.write("m x=1")
        assert (len(rows(client, "SELECT x FROM m")), server.writes, server.queries) == (1, 1, 2)

    def test_hanging(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        client.write("m x=1")
        client.query("SELECT 1")
        server.mood = "hanging"
        with connected(server) as another:
            for each in (client, another):
                with pytest.raises(urllib3.exceptions.TimeoutError):
                    each.write("m x=2", _request_timeout=100)
                with pytest.raises(InfluxDB3ClientQueryError, match=r"[Dd]eadline"):
                    each.query("SELECT 1", timeout=0.1)
        server.mood = "well"
        assert {"x": 1.0} in rows(client, "SELECT x FROM m")

    def test_a_write_that_is_taken_without_an_answer(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        server.mood = "silent"
        with pytest.raises(urllib3.exceptions.HTTPError):
            client.write("m x=1 1")
        server.mood = "well"
        client.write("m x=1 1")
        assert (rows(client, "SELECT x FROM m"), server.writes) == ([{"x": 1.0}], 2)
