"""Streams of what changes, over real sockets: who hears what, how often, for how long, and how many there may be."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pulse_core.config import load_config
from pulse_core.errors import TooMany
from pulse_core.plugins import load_plugins
from pulse_core.principal import Role
from pulse_core.secrets import SecretBox
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_server.notices.hub import EACH, EVERY_S, STREAMS, Hub
from pulse_server.notices.post import Post
from pulse_server.web import create_app, events
from pulse_server.web.services import Services
from support.admin import opened
from support.batches import judged
from support.listening import listening
from support.pages import serving
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from quart import Quart

    from support.database import Database


class Desk:
    """The web application on a port, hearing what the database tells."""

    def __init__(
        self, url: str, app: Quart, services: Services, tokens: ApiTokens, http: aiohttp.ClientSession
    ) -> None:
        self.url = url
        self.app = app
        self.services = services
        self.tokens = tokens
        self.http = http

    async def token(
        self, tenant_id: str | None = "tenant-a", role: Role = Role.CUSTOMER_VIEWER, name: str = "t"
    ) -> str:
        return (await self.tokens.create(name, role, tenant_id=tenant_id, days=1, actor="test")).token

    def listen(self, token: str, path: str = "/customer/events", **headers: str) -> Any:
        return listening(self.http, f"{self.url}{path}", token, **headers)


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with _desk(database, tmp_path) as found:
        yield found
    assert STREAMS._value.get() == 0


@asynccontextmanager
async def _desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    judged(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-a'), ('tenant-b') RETURNING true")
    config = load_config(None, mode="dev", data_dir=tmp_path)
    services = Services(config, SecretBox(database.secret_key), load_plugins(config))
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(opened(services, database))
        post = Post(services.hub, services.board, pools.operator, database.dsn("pulse_operator"))
        post.start()
        stack.push_async_callback(post.stop)
        app = create_app(services)
        url = await stack.enter_async_context(serving(app))
        stack.callback(services.hub.close)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        yield Desk(url, app, services, ApiTokens(pools.admin), http)


async def test_each_tenant_hears_its_own_and_operators_hear_all(desk: Desk) -> None:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(desk.listen(await desk.token()))
        theirs = await stack.enter_async_context(desk.listen(await desk.token("tenant-b")))
        operator = await desk.token(None, Role.OPERATOR)
        everything = await stack.enter_async_context(desk.listen(operator, "/operator/events"))
        narrowed = await stack.enter_async_context(desk.listen(operator, "/operator/events?tenant_id=tenant-b"))
        assert ours.headers["Content-Type"] == "text/event-stream"
        assert ours.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors" in ours.headers["Content-Security-Policy"]
        desk.services.board.note("tenant-a", "devices", ["d-a"])
        desk.services.board.note("tenant-b", "alerts", ["al-b"])
        await until(lambda: ours.of("devices") and theirs.of("alerts") and len(everything.events) > 1 and narrowed.ids)
        assert [data for name, data in ours.events if name == "changed"] == [{"devices": ["d-a"]}]
        for heard in (theirs, narrowed):
            assert [data for name, data in heard.events if name == "changed"] == [{"alerts": ["al-b"]}]
        assert {tenant for _, data in everything.events for tenant in data.get("tenants", ())} == {
            "tenant-a",
            "tenant-b",
        }
        assert "tenant-b" not in str(ours.events)


async def test_a_storm_is_heard_a_few_times_a_second(desk: Desk) -> None:
    async with desk.listen(await desk.token()) as heard:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() < began + 1.2:
            desk.services.hub.heard([("tenant-a", "devices", [f"d-{int(loop.time() * 1000) % 40}"])])
            await asyncio.sleep(0.001)
        took = loop.time() - began
        desk.services.hub.heard([("tenant-a", "devices", ["last"])])
        await until(lambda: "last" in heard.of("devices"))
        assert 3 <= heard.names().count("changed") <= took / EVERY_S + 2
        assert len(set(heard.ids)) == len(heard.ids)


async def test_what_a_customer_changes_is_heard(desk: Desk) -> None:
    token = await desk.token(role=Role.CUSTOMER_ADMIN)
    async with desk.listen(token) as heard:
        body = {"name": "n", "config": {"url": "https://example.com/", "secret": "whsec_" + "A" * 44}}
        headers = {"Authorization": f"Bearer {token}"}
        async with desk.http.post(f"{desk.url}/customer/integrations", json=body, headers=headers) as answer:
            assert answer.status == 201
        await heard.until("changed")
        assert heard.events[-1][1] == {"deliveries": None, "integrations": None, "routes": None}
        async with desk.http.post(f"{desk.url}/customer/integrations", json={}, headers=headers) as answer:
            assert answer.status == 422
        desk.services.hub.heard([("tenant-a", "devices", ["d"])])
        await until(lambda: heard.of("devices"))
        assert heard.names().count("changed") == 2


async def test_whoever_comes_again_is_told_to_read_everything(desk: Desk) -> None:
    token = await desk.token()
    async with desk.listen(token) as first:
        assert first.names() == ["ready"]
    async with desk.listen(token, **{"Last-Event-ID": "5f0c2a17-3"}) as again:
        assert again.names() == ["resync"]
        desk.services.hub.heard(None)
        await until(lambda: again.names() == ["resync", "resync"])


@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE api_tokens SET revoked_at = now() RETURNING true",
        "UPDATE api_tokens SET expires_at = now() - interval '1 second' RETURNING true",
        "UPDATE tenants SET status = 'SUSPENDED' RETURNING true",
    ],
)
async def test_a_token_that_ends_ends_its_stream_within_five_seconds(desk: Desk, database: Database, deed: str) -> None:
    async with desk.listen(await desk.token()) as heard:
        loop = asyncio.get_running_loop()
        judged(database, deed)
        began = loop.time()
        await until(lambda: heard.ended, within_s=30)
        assert loop.time() - began < 5
        assert (heard.names()[0], heard.names()[-1]) == ("ready", "over")


async def test_streams_of_one_token_are_checked_together_and_another_s_go_on(desk: Desk, database: Database) -> None:
    first, second = await desk.token(name="first"), await desk.token(name="second")
    async with desk.listen(first) as one, desk.listen(first) as two, desk.listen(second) as other:
        assert len(desk.services.watches._watches) == 2
        judged(database, "UPDATE api_tokens SET revoked_at = now() WHERE name = 'first' RETURNING true")
        await until(lambda: one.ended and two.ended, within_s=5)
        assert (one.names()[-1], two.names()[-1]) == ("over", "over")
        assert not other.ended
    await until(lambda: not desk.services.watches._watches)


async def test_strangers_and_the_wrong_roles_hear_nothing(desk: Desk) -> None:
    for token, path, status in (
        ("pulse_" + "A" * 43, "/customer/events", 401),
        (await desk.token(), "/operator/events", 403),
        (await desk.token(None, Role.OPERATOR), "/customer/events", 403),
        (await desk.token(), "/customer/events?lasts_s=-1", 422),
        (await desk.token(), "/customer/events?tenant_id=tenant-b", 422),
    ):
        async with desk.listen(token, path) as heard:
            assert (heard.status, heard.events) == (status, [])


async def test_two_hundred_streams_are_open_and_no_more_than_some_of_one_principal(desk: Desk) -> None:
    tokens = [await desk.token(name=f"t-{number}") for number in range(200 // EACH)]
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(desk.listen(token)) for token in tokens for _ in range(EACH)]
        assert len(streams) == 200
        async with desk.listen(tokens[0]) as refused:
            assert refused.status == 429
            assert int(refused.headers["Retry-After"]) >= 1
        desk.services.board.note("tenant-a", "devices", ["d-1"])
        await until(lambda: all(each.of("devices") == {"d-1"} for each in streams))
        assert STREAMS._value.get() == 200
    await until(lambda: STREAMS._value.get() == 0, what="that streams whose reader is gone are closed")
    async with desk.listen(tokens[0]) as heard:
        assert heard.status == 200


async def test_a_silent_stream_is_kept_alive_and_a_short_one_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.05)
    token = await desk.token()
    async with desk.listen(token) as heard:
        await until(lambda: heard.comments >= 3)
        assert not heard.ended
    async with desk.listen(token, "/customer/events?lasts_s=0.1") as heard:
        await until(lambda: heard.ended, within_s=5)
        assert heard.names() == ["ready"]


async def test_a_stream_outlives_what_bounds_other_answers(desk: Desk) -> None:
    desk.app.config.update(RESPONSE_TIMEOUT=0.2, BODY_TIMEOUT=0.2)
    async with desk.listen(await desk.token()) as heard:
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.0
        while loop.time() < end:
            desk.services.hub.heard([("tenant-a", "devices", ["d"])])
            await asyncio.sleep(0.05)
        assert not heard.ended
        assert heard.names().count("changed") >= 2


async def test_whoever_does_not_read_is_dropped_and_others_hear_on(desk: Desk) -> None:
    token = await desk.token()
    host, port = desk.url.removeprefix("http://").split(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (host, int(port)))
        head = f"GET /customer/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        await loop.sock_sendall(deaf, head.encode())
        await until(lambda: STREAMS._value.get() == 1)
        (room,) = desk.services.hub._rooms.values()
        (stream,) = room.streams
        async with desk.listen(token) as reader:
            while STREAMS._value.get() == 2:
                stream.put(b"event: changed\ndata: " + b"x" * 60_000 + b"\n\n")
                await asyncio.sleep(0)
            assert STREAMS._value.get() == 1
            desk.services.hub.heard([("tenant-a", "devices", ["d-1"])])
            await until(lambda: reader.of("devices"))


async def test_a_process_that_stops_ends_its_streams_at_once(database: Database, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        async with _desk(database, tmp_path) as desk:
            heard = await stack.enter_async_context(desk.listen(await desk.token()))
            hub = desk.services.hub
            began = loop.time()
            hub.close()
            await until(lambda: heard.ended, within_s=2)
            async with desk.listen(await desk.token()) as late:
                assert late.status == 503
        assert loop.time() - began < 4


async def test_the_database_going_away_ends_no_hearing_for_ever(desk: Desk, database: Database) -> None:
    async with desk.listen(await desk.token()) as heard:
        ears = "application_name LIKE 'pulse listen%notices%'"
        with database.superuser() as hand:
            hand.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ears}".encode())
        await heard.until("resync")
        desk.services.board.note("tenant-a", "devices", ["d-9"])
        await until(lambda: "d-9" in heard.of("devices"))


async def test_in_all_there_are_no_more_than_some() -> None:
    hub = Hub(each=3, most=5)
    with ExitStack() as stack:
        for number in range(5):
            hub.demand_room(f"p-{number % 2}")
            stack.enter_context(hub.joined(f"p-{number % 2}", "t"))
        with pytest.raises(TooMany):
            hub.demand_room("p-1")
        with pytest.raises(TooMany):
            hub.demand_room("p-9")
    hub.demand_room("p-9")
    assert hub._rooms == {}
