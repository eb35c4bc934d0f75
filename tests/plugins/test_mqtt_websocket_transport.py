"""The transport over a WebSocket, for a protocol that expects :class:`asyncio.Transport`, and any ASGI server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.testing.intake import FakeIntake
from pulse_mqtt.websocket import WebSocketApp, WebSocketTransport
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping


class Recorder(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.transport: WebSocketTransport
        self.happened: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, WebSocketTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.happened.append(data)
        if data == b"close":
            self.transport.close()
        if data == b"abort":
            self.transport.abort()

    def pause_writing(self) -> None:
        self.happened.append("pause")

    def resume_writing(self) -> None:
        self.happened.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.happened.append(exc)


class Server:
    """An ASGI server with nothing but what the specification says."""

    def __init__(self) -> None:
        self.protocol = Recorder()
        self.incoming: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.sent: list[Any] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.lost = False
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/mqtt",
            "client": ("192.0.2.1", 1234),
            "subprotocols": ["mqtt"],
        }
        self.task: asyncio.Task[None] | None = None

    def say(self, data: bytes) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.takes.wait()
        if self.lost:
            raise OSError("gone")
        self.sent.append(message.get("bytes", message))

    def run(self) -> None:
        app = WebSocketApp(FakeIntake(), lambda: self.protocol)
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(app(self.scope, self.incoming.get, self.send))

    async def ended(self) -> None:
        assert self.task is not None
        await asyncio.wait_for(asyncio.shield(self.task), 20)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, Recorder]]:
    server = Server()
    server.run()
    assert server.task is not None
    await until(lambda: hasattr(server.protocol, "transport"))
    assert server.sent.pop(0) == {"type": "websocket.accept", "subprotocol": "mqtt", "pulse.pieces": True}
    yield server, server.protocol
    server.task.cancel()
    await asyncio.wait((server.task,))
    assert not server.task.cancelled()


async def test_bytes_go_both_ways_until_the_peer_leaves() -> None:
    async with serving() as (server, protocol):
        assert protocol.transport.get_extra_info("peername") == ("192.0.2.1", 1234)
        assert protocol.transport.get_extra_info("ssl_object") is None
        server.say(b"one")
        server.say(b"")
        server.say(b"two")
        protocol.transport.write(b"a")
        protocol.transport.writelines([b"b", b"c"])
        await until(lambda: len(protocol.happened) == 2)
        server.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await server.ended()
        assert protocol.happened == [b"one", b"two", None]
        assert server.sent == [b"abc"]
        protocol.transport.write(b"nobody hears it")
        protocol.transport.close()
        protocol.transport.abort()
        assert server.sent == [b"abc"]


async def test_nothing_is_received_while_reading_is_paused() -> None:
    async with serving() as (server, protocol):
        protocol.transport.pause_reading()
        for number in range(5):
            server.say(b"%d" % number)
        await asyncio.sleep(0.01)
        assert protocol.happened == []
        assert server.incoming.qsize() >= 4
        assert not protocol.transport.is_reading()
        protocol.transport.resume_reading()
        await until(lambda: len(protocol.happened) == 5)


@pytest.mark.parametrize("size", [1, 100_000])
async def test_what_the_server_does_not_take_pauses_writing_however_little_it_is(size: int) -> None:
    async with serving() as (server, protocol):
        server.takes.clear()
        protocol.transport.write(b"x" * size)
        await until(lambda: protocol.happened == ["pause"])
        protocol.transport.write(b"y")
        assert protocol.transport.get_write_buffer_size() == size + 1
        server.takes.set()
        await until(lambda: protocol.happened == ["pause", "resume"])
        await until(lambda: b"".join(server.sent) == b"x" * size + b"y")
        assert protocol.transport.get_write_buffer_size() == 0


async def test_what_it_takes_at_once_does_not() -> None:
    async with serving() as (server, protocol):
        for _ in range(10):
            protocol.transport.write(b"x")
            await asyncio.sleep(0)
        await until(lambda: b"".join(server.sent) == b"x" * 10)
        assert protocol.happened == []


@pytest.mark.parametrize("paused", [False, True])
async def test_close_sends_what_was_written_first(*, paused: bool) -> None:
    async with serving() as (server, protocol):
        server.takes.clear()
        if paused:
            protocol.transport.pause_reading()
        protocol.transport.write(b"last words")
        protocol.transport.close()
        protocol.transport.write(b"too late")
        assert protocol.transport.is_closing()
        server.say(b"unheard")
        await asyncio.sleep(0.01)
        server.takes.set()
        await server.ended()
        assert server.sent == [b"last words", {"type": "websocket.close", "code": 1000}]
        assert [one for one in protocol.happened if isinstance(one, bytes)] == []
        assert protocol.happened[-1] is None


@pytest.mark.parametrize("when", ["waiting for the peer", "paused", "closing", "in its own call"])
async def test_abort_ends_it_whatever_waits(when: str) -> None:
    async with serving() as (server, protocol):
        server.takes.clear()
        protocol.transport.write(b"never sent")
        if when == "paused":
            protocol.transport.pause_reading()
        await asyncio.sleep(0.01)
        if when == "closing":
            protocol.transport.close()
            await asyncio.sleep(0.01)
        if when == "in its own call":
            server.say(b"abort")
        else:
            protocol.transport.abort()
        await server.ended()
        assert server.sent == []
        assert protocol.happened[-1] is None
        assert protocol.happened.count(None) == 1


async def test_a_protocol_may_close_in_its_own_call() -> None:
    async with serving() as (server, protocol):
        server.say(b"close")
        server.say(b"unheard")
        await server.ended()
        assert protocol.happened == [b"close", None]
        assert server.sent == [{"type": "websocket.close", "code": 1000}]


async def test_a_server_that_lost_the_peer_while_we_write() -> None:
    async with serving() as (server, protocol):
        server.lost = True
        protocol.transport.write(b"x")
        await server.ended()
        assert protocol.happened == [None]


async def test_a_server_that_stops_ends_it_in_order() -> None:
    async with serving() as (server, protocol):
        assert server.task is not None
        server.task.cancel()
        await asyncio.wait((server.task,))
        assert protocol.happened == [None]


async def test_while_the_platform_stops_nobody_new_comes_in() -> None:
    intake = FakeIntake()
    intake.stopping.set()
    server = Server()
    server.incoming.put_nowait({"type": "websocket.connect"})
    await WebSocketApp(intake, Recorder)(server.scope, server.incoming.get, server.send)
    assert server.sent == [{"type": "websocket.close"}]
