"""A broker on loopback that speaks just enough MQTT (5 and 3.1.1) to be rude."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.testing.receivers import Mood, Received
from support.mqtt311 import read_packet

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

CONNECT, PUBLISH, PUBREL, PINGREQ, DISCONNECT = 1, 3, 6, 12, 14
QUOTA, NOT_AUTHORISED = 0x97, 0x87


class Message(Struct, frozen=True):
    """One PUBLISH."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class FakeBroker:
    """``mood`` decides what a PUBLISH is answered; ``greeting``, ``acknowledgement`` and ``properties`` say it exactly.

    ``cut`` is the kind of packet on which the connection is cut instead of an answer.
    """

    def __init__(self) -> None:
        self.mood: Mood = "ok"
        self.greeting: int | None = 0
        self.properties = b""
        self.acknowledgement: int | None = None
        self.cut: int | None = None
        self.goodbye: int | None = None
        self.received: list[Received] = []
        self.messages: list[Message] = []
        self.heard: list[int] = []
        self.logins: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._five = True

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.drop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def drop(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    @property
    def open_connections(self) -> int:
        return len(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                first, body = await read_packet(reader)
                self.heard.append(first >> 4)
                if self.cut == first >> 4 or not self._answer(first, body, writer):
                    break
                await writer.drain()
        self._writers.discard(writer)
        writer.transport.abort()

    def _answer(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        kind = first >> 4
        if kind == CONNECT:
            self._five = body[6] == 5
            self.logins.append(body)
            if self.greeting is None:
                return True
            properties = bytes([len(self.properties)]) + self.properties if self._five else b""
            writer.write(_framed(0x20, bytes([0, self.greeting]) + properties))
        elif kind == PUBLISH:
            return self._take(first, body, writer)
        elif kind == PUBREL:
            writer.write(_framed(0x70, body[:2]))
        elif kind == PINGREQ:
            writer.write(b"\xd0\x00")
        return kind != DISCONNECT

    def _take(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        qos, length = first >> 1 & 3, int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        number, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        payload = rest[1 + rest[0] :] if self._five else rest
        self.messages.append(Message(topic, payload, qos, bool(first & 1)))
        self.received.append(Received(body=payload, path=topic))
        if self.goodbye is not None:
            writer.write(_framed(0xE0, bytes([self.goodbye])))
            return True
        reason = {"temporary": QUOTA, "permanent": NOT_AUTHORISED}.get(self.mood, self.acknowledgement)
        if qos and self.mood != "silent":
            tail = b"" if reason is None else bytes([reason])
            writer.write(_framed(0x40 if qos == 1 else 0x50, number + tail))
        return True


def _framed(first: int, body: bytes) -> bytes:
    return bytes([first, len(body)]) + body


@asynccontextmanager
async def fake_broker(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeBroker]:
    """Run a :class:`FakeBroker`."""
    broker = FakeBroker()
    await broker.start(tls)
    try:
        yield broker
    finally:
        await broker.stop()
