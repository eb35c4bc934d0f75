"""A WebSocket client by hand (RFC 6455), small and not strict, so that tests can also say wrong things."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from support import mqtt311

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What section 1.3 says that follows from :data:`KEY`."""


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, claim: int | None = None) -> bytes:
    """One frame; ``claim``: the length that it says it has."""
    size = len(payload) if claim is None else claim
    head = bytes([fin << 7 | opcode])
    if size < 126:
        head += bytes([masked << 7 | size])
    elif size < 65536:
        head += bytes([masked << 7 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked << 7 | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = b"\x0f\xf0\x55\xaa"
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def request(path: str = "/mqtt", protocol: str | None = "mqtt", *headers: str, version: int = 13) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: here",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        *headers,
    ]
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class WebSocket:
    """A connection: first HTTP, then frames, and what they carry as one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._stream = b""

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def say(self, data: bytes) -> None:
        self.write(frame(BINARY, data))

    async def head(self) -> bytes:
        """The answer to the handshake, up to its empty line."""
        async with asyncio.timeout(20):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def frame(self, within_s: float = 20.0) -> tuple[int, bytes]:
        """The next frame: its opcode and payload."""
        try:
            async with asyncio.timeout(within_s):
                first, size = await self.reader.readexactly(2)
                if size >= 126:
                    size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
                return first & 15, await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the peer closed") from error

    async def packet(self) -> bytes:
        """The next MQTT packet, in however many frames it comes."""
        while (size := _whole(self._stream)) is None:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                raise ConnectionResetError(f"closed with {int.from_bytes(payload[:2], 'big')}")
            if opcode == BINARY:
                self._stream += payload
        packet, self._stream = self._stream[:size], self._stream[size:]
        return packet

    async def closed(self) -> int | None:
        """Wait for the end; return the code of the closing frame, if there was one."""
        with suppress(ConnectionError):
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        return None


def _whole(stream: bytes) -> int | None:
    """The size of the packet at the beginning; None while it is not all there."""
    length = 0
    for digits, byte in enumerate(stream[1:5]):
        length |= (byte & 127) << 7 * digits
        if not byte & 128:
            size = 2 + digits + length
            return size if size <= len(stream) else None
    return None


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[WebSocket]:
    """Connect, and say nothing."""
    client = WebSocket(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client
    finally:
        client.writer.transport.abort()  # what it wrote to a peer that does not read would never go out


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[WebSocket]:
    """A WebSocket at ``/mqtt`` that was accepted."""
    async with connected(port) as client:
        client.write(request())
        answer = await client.head()
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        assert b"sec-websocket-accept: " + ACCEPT.lower() in answer.lower()
        assert b"sec-websocket-protocol: mqtt\r\n" in answer.lower()  # [MQTT-6.0.0-4]
        yield client


@asynccontextmanager
async def logged_in(port: int, username: str, password: str, client_id: str = "client-1") -> AsyncIterator[WebSocket]:
    async with opened(port) as client:
        client.say(mqtt311.connect(username, password, client_id))
        assert await client.packet() == b"\x20\x02\x00\x00"
        yield client
