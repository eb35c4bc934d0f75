"""Web servers that refuse, break off, dawdle, fall silent or never stop talking: sockets that know no HTTP library."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import struct
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from support.faults import webhook

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from support.faults import Bench

    Peers = Callable[[Bench], AbstractAsyncContextManager["RudePeer"]]
    Manner = Callable[["RudePeer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GIGABYTE = 1 << 30
_CHUNK = b"x" * 65536
_MOST_SENT_BYTES = 32 * 1024 * 1024


class RudePeer:
    """A web server with a manner."""

    def __init__(self, host: str = "127.0.0.1", scheme: str = "http") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.sent_bytes = 0
        self.port = 0
        self._origin = f"{scheme}://{host}"

    @property
    def fields(self) -> dict[str, Any]:
        return webhook(f"{self._origin}:{self.port}")

    @property
    def heard(self) -> int:
        return len(self.requests)

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Take one request, whole."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        self.requests.append(head + await reader.readexactly(int(length[1]) if length else 0))
        return self.requests[-1]


def rude(manner: Manner, *, name: str = "", valid_days: int = 1, host: str = "hooks.example") -> Peers:
    """A peer of that manner. With ``name`` it speaks TLS, with a certificate for it, and is called as ``host``."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[RudePeer]:
        peer = RudePeer(host, "https") if name else RudePeer()
        tasks: set[asyncio.Task[Any]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            peer.connections += 1
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await manner(peer, reader, writer)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

        tls: ssl.SSLContext | None = bench.authority.server(name, valid_days=valid_days) if name else None
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
            peer.port = server.sockets[0].getsockname()[1]
            yield peer
            for task in tasks:
                task.cancel()
        assert peer.sent_bytes < _MOST_SENT_BYTES, "much more was read than the buffers of the system hold"

    return running


def answers(status: str, *headers: str, body: Callable[[], bytes] = lambda: b"no comment", echo: bool = False) -> Peers:
    """Reads the request and answers. In headers, ``{friend}`` is the address of somebody else, ``{soon}`` in an hour.

    :param echo: the body repeats the request's headers.
    """

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[RudePeer]:
        content = body()
        lines = "".join(f"{each}\r\n" for each in headers)

        async def answer(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard = await peer.request(reader)
            told = heard.partition(b"\r\n")[2] if echo else content
            filled = lines.format(friend=bench.friend.url, soon=http_date(3600), past=http_date(-3600))
            head = f"HTTP/1.1 {status}\r\n{filled}Content-Length: {len(told)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + told)
            await writer.drain()

        async with rude(answer)(bench) as peer:
            yield peer

    return running


def http_date(in_s: float) -> str:
    """Tell a time as HTTP does."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=in_s), usegmt=True)


@cache
def bomb() -> bytes:
    """Return 200 KB that are 200 MB when they are unpacked."""
    return gzip.compress(bytes(200_000_000), 6)


@asynccontextmanager
async def nobody(bench: Bench) -> AsyncIterator[RudePeer]:
    """A port that is taken, and nobody listens."""
    peer = RudePeer()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        peer.port = held.getsockname()[1]
        yield peer


@asynccontextmanager
async def full(bench: Bench) -> AsyncIterator[RudePeer]:
    """A listener whose queue is full: nothing answers a new connection, not even a refusal."""
    peer = RudePeer()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        peer.port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", peer.port))
        try:
            yield peer
        finally:
            for each in waiting:
                each.close()


@asynccontextmanager
async def nowhere(bench: Bench) -> AsyncIterator[RudePeer]:
    """A name that does not exist (RFC 6761)."""
    peer = RudePeer("nowhere.invalid")
    peer.port = 80
    yield peer


async def resets_at_once(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break off at the first byte."""
    await reader.readexactly(1)
    _reset(writer)


async def resets_after_the_body(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take all of it, and break off instead of an answer."""
    await peer.request(reader)
    _reset(writer)


def resets_amid_the_answer(status: str) -> Manner:
    """Break off after the status and half of the answer's body."""

    async def manner(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\nonly this".encode())
        await writer.drain()
        _reset(writer)

    return manner


async def hangs_up(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take all of it, and close politely without a word."""
    await peer.request(reader)


async def silent(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take all of it, and never answer."""
    await peer.request(reader)
    await reader.read()


def drips(at_once: bytes, slowly: bytes) -> Manner:
    """Answer with so much at once, and then a byte a second."""

    async def manner(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(at_once)
        for byte in slowly:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)

    return manner


def says(data: bytes) -> Manner:
    """Answer with these bytes, whatever they are."""

    async def manner(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(data)
        await writer.drain()

    return manner


def says_a_gigabyte(head: bytes, frame: bytes = b"%b") -> Manner:
    """Answer with ``head`` and then with a gigabyte, as long as somebody takes it."""

    async def manner(peer: RudePeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(head)
        while peer.sent_bytes < GIGABYTE:
            writer.write(frame % _CHUNK)
            peer.sent_bytes += len(_CHUNK)
            await writer.drain()

    return manner


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side gets a reset instead of an end (SO_LINGER of 0 s)."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
