"""The store in InfluxDB over TLS: both of its ways, writes and queries, check whom they talk to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import ReadingKey, StoreUnavailable
from pulse_core.testing.telemetry_stores import DEVICE, a_reading
from pulse_influxdb.store import InfluxTelemetryStore
from support.certificates import Authority
from support.influx_server import influx_server
from support.influx_stores import config_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any

KEY = ReadingKey(DEVICE, 1_700_000_000_000_000, 1)


@asynccontextmanager
async def behind_tls(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """What is at a URL, behind a door of TLS."""
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, _, port = url.removeprefix("http://").partition(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    door = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{door.sockets[0].getsockname()[1]}"
    finally:
        door.close()


async def written_and_known(**changes: Any) -> set[int]:
    """Over TLS: what a write and a query come to."""
    store = InfluxTelemetryStore(config_for(None, token="apiv3_of-the-stand-in", **changes))
    await store.open(None)
    try:
        await store.write([a_reading(KEY.ts_us, key_hash=KEY.key_hash)], None)
        return await store.known([KEY])
    finally:
        await store.close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
async def test_the_authority_of_the_configuration_is_trusted(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    async with influx_server() as server, behind_tls(server.url, ours.server("localhost")) as url:
        assert await written_and_known(url=url, ca_file=ours.file()) == {0}
        assert await written_and_known(url=url, verify_tls=False) == {0}


@pytest.mark.parametrize("trusted", ["another", "the machine's"])
async def test_nobody_else_is(tmp_path: Path, trusted: str) -> None:
    """And nothing is written to who is not the one that was meant."""
    (tmp_path / "theirs").mkdir()
    ours, theirs = Authority(tmp_path), Authority(tmp_path / "theirs")
    files = {"ca_file": theirs.file()} if trusted == "another" else {}
    async with influx_server() as server, behind_tls(server.url, ours.server("localhost")) as url:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await written_and_known(url=url, **files)
        store = InfluxTelemetryStore(config_for(None, token="x", url=url, **files))
        await store.open(None)
        with pytest.raises(StoreUnavailable):
            await store.known([KEY])
        await store.close()
        assert server.writes == server.queries == 0
