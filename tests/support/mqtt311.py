"""A device's side of MQTT 3.1.1, small and not strict, so that tests can also say wrong things."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def length(count: int) -> bytes:
    digits = bytearray()
    while True:
        count, digit = divmod(count, 128)
        digits.append(digit | 128 if count else digit)
        if not count:
            return bytes(digits)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes = b"") -> bytes:
    return bytes([first]) + length(len(body)) + body


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return first, await reader.readexactly(length)


def connect(
    username: str | bytes | None,
    password: str | bytes | None,
    client_id: str = "client-1",
    *,
    clean: bool = True,
    keepalive_s: int = 60,
    name: bytes = b"MQTT",
    level: int = 4,
    will: tuple[str, bytes] | None = None,
    flags: int = 0,
) -> bytes:
    flags |= clean << 1 | (will is not None) << 2 | (username is not None) << 7 | (password is not None) << 6
    body = text(name) + bytes([level, flags]) + keepalive_s.to_bytes(2, "big") + text(client_id)
    if will is not None:
        body += text(will[0]) + text(will[1])
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(0x10, body)


def publish(
    topic: str | bytes, payload: bytes, qos: int = 1, packet_id: int = 1, *, dup: bool = False, retain: bool = False
) -> bytes:
    ident = packet_id.to_bytes(2, "big") if qos else b""
    return packet(0x30 | dup << 3 | qos << 1 | retain, text(topic) + ident + payload)


def subscribe(packet_id: int, *filters: tuple[str, int]) -> bytes:
    return packet(0x82, packet_id.to_bytes(2, "big") + b"".join(text(one) + bytes([qos]) for one, qos in filters))


def unsubscribe(packet_id: int, *filters: str) -> bytes:
    return packet(0xA2, packet_id.to_bytes(2, "big") + b"".join(text(one) for one in filters))


def puback(packet_id: int) -> bytes:
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def pubrec(packet_id: int) -> bytes:
    return b"\x50\x02" + packet_id.to_bytes(2, "big")


def pubrel(packet_id: int) -> bytes:
    return b"\x62\x02" + packet_id.to_bytes(2, "big")


def pubcomp(packet_id: int) -> bytes:
    return b"\x70\x02" + packet_id.to_bytes(2, "big")


PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
DISCONNECT = b"\xe0\x00"


class Client:
    """A connection that has been made, logged in or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, within_s: float = 15.0) -> bytes:
        """The next packet; ConnectionError when there is none any more."""
        try:
            async with asyncio.timeout(within_s):
                head = await self.reader.readexactly(2)
                count, shift, digits = head[1] & 127, 7, head[1:]
                while digits[-1] & 128:
                    digits += await self.reader.readexactly(1)
                    count |= (digits[-1] & 127) << shift
                    shift += 7
                return head[:1] + digits + await self.reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the peer closed") from error

    async def silent(self, for_s: float = 0.2) -> bool:
        """Whether nothing comes (and the connection stays)."""
        try:
            await self.read(for_s)
        except TimeoutError:
            return True
        return False

    async def closed(self, within_s: float = 15.0) -> bytes:
        """Wait for the peer to close; return what it still said."""
        said = b""
        try:
            async with asyncio.timeout(within_s):
                while chunk := await self.reader.read(65536):
                    said += chunk
        except ConnectionError:
            return said
        return said


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    """Connect to ``mqtt://host:port``, and say nothing."""
    host, _, port = address.removeprefix("mqtt://").rpartition(":")
    client = Client(*await asyncio.open_connection(host, int(port)))
    try:
        yield client
    finally:
        client.writer.close()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


@asynccontextmanager
async def logged_in(address: str, username: str, password: str, client_id: str = "client-1") -> AsyncIterator[Client]:
    """Connect and log in; ConnectionRefusedError when that is refused."""
    async with connected(address) as client:
        client.write(connect(username, password, client_id))
        answer = await client.read()
        if answer != b"\x20\x02\x00\x00":
            raise ConnectionRefusedError(f"CONNACK {answer!r}")
        yield client
