"""The device port's WebSockets: what a peer may make us hold, whatever the application behind."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.config import Listen
from pulse_server import websocket_guard
from pulse_server.device_http import DeviceRouter
from pulse_server.health import Health
from pulse_server.serving import HttpServer, bind
from pulse_server.websocket_guard import EVENTS_A_TURN, GuardedWebSocket
from support import websocket as ws
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping


class Sink:
    """Accepts, and takes one message whenever the test allows it."""

    takes_websockets = True

    def __init__(self, *, pieces: bool) -> None:
        self.pieces = pieces
        self.may_take = asyncio.Semaphore(0)
        self.taken: list[MutableMapping[str, Any]] = []
        self.ended = False

    async def __call__(self, _scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "mqtt", "pulse.pieces": self.pieces})
        while not self.taken or self.taken[-1]["type"] == "websocket.receive":
            await self.may_take.acquire()
            self.taken.append(await receive())
        self.ended = True

    def let_go(self) -> None:
        for _ in range(10_000):
            self.may_take.release()


class Watched(GuardedWebSocket):
    """Lets a test look inside."""

    all: list[Watched]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.all.append(self)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    Watched.all = []
    router = DeviceRouter(Health("pipeline"))
    router.open([("/mqtt", app)])
    sock = bind(Listen(port=0), "test")
    server = HttpServer(router, sock, drain_s=1, websocket=Watched)
    await server.start()
    try:
        yield sock.getsockname()[1]
    finally:
        for one in Watched.all:
            one.transport.abort()
        if isinstance(app, Sink):
            app.let_go()
        await server.stop()


async def test_a_heap_of_frames_waits_for_the_application() -> None:
    sink = Sink(pieces=True)
    count = 20 * EVENTS_A_TURN
    async with served(sink) as port, ws.opened(port) as client:
        client.write(ws.frame(ws.BINARY, b"x") * count)
        [guard] = Watched.all
        await until(lambda: not guard.queue.empty())
        for _ in range(10):
            await asyncio.sleep(0)
            assert guard.queue.qsize() <= EVENTS_A_TURN
        for _ in range(count):
            sink.may_take.release()
        await until(lambda: len(sink.taken) == count)


async def test_pings_are_answered_but_not_into_a_heap() -> None:
    sink = Sink(pieces=True)
    pings = ws.frame(ws.PING, b"p" * 125) * 2_000
    async with served(sink) as port, ws.opened(port) as client:
        client.write(pings)
        assert await client.frame() == (ws.PONG, b"p" * 125)
        [guard] = Watched.all
        for _ in range(200):
            client.write(pings)
            await asyncio.wait((asyncio.ensure_future(client.writer.drain()),), timeout=0.02)
            if not guard.writable.is_set():
                break
        assert not guard.writable.is_set()
        for _ in range(40):
            client.write(pings)
            await asyncio.sleep(0.002)
            assert guard.read_paused
            assert guard.transport.get_write_buffer_size() < 256 * 1024


async def test_no_more_is_read_while_there_is_something_to_handle() -> None:
    sink = Sink(pieces=True)
    async with served(sink) as port, ws.opened(port) as client:
        sink.may_take.release()
        client.write(ws.frame(ws.BINARY, b"") * 30_000 + ws.frame(ws.BINARY, b"x"))
        [guard] = Watched.all
        turns = 0
        while not sink.taken:
            await asyncio.sleep(0)
            turns += guard.conn.more
            assert guard.read_paused or not guard.conn.more
        assert turns > 100


async def test_a_frame_that_claims_to_be_endless_is_passed_on_as_it_comes() -> None:
    sink = Sink(pieces=True)
    async with served(sink) as port, ws.opened(port) as client:
        client.write(ws.frame(ws.BINARY, b"x" * 1000, claim=2**62))
        for _ in range(10):
            sink.may_take.release()
        await until(lambda: sum(len(one["bytes"]) for one in sink.taken) == 1000)


async def test_an_application_that_wants_whole_messages_gets_them_up_to_a_size() -> None:
    sink = Sink(pieces=False)
    async with served(sink) as port, ws.opened(port) as client:
        client.write(ws.frame(ws.BINARY, b"ab", fin=False) + ws.frame(ws.CONTINUATION, b"cd"))
        sink.may_take.release()
        await until(lambda: sink.taken == [{"type": "websocket.receive", "bytes": b"abcd"}])
        client.write(ws.frame(ws.BINARY, b"x" * (1024 * 1024 + 1)))
        sink.may_take.release()
        assert await client.closed() == 1009
        await until(lambda: sink.ended)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(ws.frame(ws.BINARY, b"x", masked=False), id="unmasked"),
        pytest.param(ws.frame(ws.CONTINUATION, b"x"), id="a continuation of nothing"),
        pytest.param(ws.frame(3, b"x"), id="an opcode that is not in use"),
        pytest.param(ws.frame(ws.PING, b"x", fin=False), id="a fragmented ping"),
        pytest.param(ws.frame(ws.PING, b"x" * 126), id="a long ping"),
        pytest.param(b"\xc2" + ws.frame(ws.BINARY, b"x")[1:], id="compressed"),
        pytest.param(ws.frame(ws.BINARY, b"x", fin=False) * 2, id="a message within a message"),
        pytest.param(ws.frame(ws.CLOSE, b"x"), id="half a closing code"),
        pytest.param(ws.frame(ws.TEXT, b"\xff"), id="text that is not UTF-8"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
    ],
)
async def test_broken_framing_ends_the_connection(wrong: bytes) -> None:
    sink = Sink(pieces=True)
    async with served(sink) as port, ws.opened(port) as client:
        sink.may_take.release()
        sink.may_take.release()
        client.write(wrong)
        await client.closed()
        await until(lambda: sink.ended)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(ws.request().replace(b"Host: here", b"Host: xn--\xff" + b"a" * 80), id="a host that is none"),
        pytest.param(ws.request().replace(b"Host: here\r\n", b""), id="no host"),
        pytest.param(ws.request(version=12), id="an old version"),
        pytest.param(ws.request().replace(b"GET", b"POST"), id="POST"),
        pytest.param(ws.request().replace(b"Sec-WebSocket-Key: " + ws.KEY + b"\r\n", b""), id="no key"),
        pytest.param(ws.request("/%ff%00"), id="an odd path"),
        pytest.param(ws.request("/mqtt?\x7f"), id="a control character"),
    ],
)
async def test_broken_handshakes_are_refused_and_others_served_on(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(Sink(pieces=True)) as port:
        async with ws.connected(port) as client:
            client.write(request_)
            try:
                answer = await client.head()
            except (ConnectionError, asyncio.IncompleteReadError):
                answer = b"HTTP/1.1 4"
            assert answer.startswith(b"HTTP/1.1 4")
        async with ws.opened(port):
            pass
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_a_peer_that_does_not_take_our_last_words_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_guard, "CLOSE_WITHIN_S", 0.1)

    class Brief:
        takes_websockets = True

        async def __call__(self, _scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept", "subprotocol": "mqtt"})
            sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": b"x" * 10_000_000}))
            await asyncio.sleep(0)
            assert not sending.done()  # it returns when the peer takes it

    async with served(Brief()) as port, ws.opened(port):
        await until(lambda: Watched.all[0].disconnected)


async def test_before_it_opens_the_port_says_so_to_websockets_too() -> None:
    router = DeviceRouter(Health("pipeline"))
    sock = bind(Listen(port=0), "test")
    server = HttpServer(router, sock, websocket=GuardedWebSocket)
    await server.start()
    try:
        async with ws.connected(sock.getsockname()[1]) as client:
            client.write(ws.request())
            assert (await client.head()).startswith(b"HTTP/1.1 503 ")
    finally:
        await server.stop()
