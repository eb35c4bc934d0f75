"""A server that answers with given bytes, right or wrong."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


class Scripted:
    """A TCP server that answers every request with the same bytes, as often as the connection is used."""

    def __init__(self, answer: bytes, *, endless: bytes = b"", close: bool = True) -> None:
        self.answer, self.endless, self.closes = answer, endless, close
        self.connections = 0
        self.sent_bytes = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                while self.endless:
                    writer.write(self.endless)
                    self.sent_bytes += len(self.endless)
                    await writer.drain()
                if self.closes:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(
    answer: bytes, *, endless: bytes = b"", close: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Scripted]:
    peer = Scripted(answer, endless=endless, close=close)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    peer.url = f"http://127.0.0.1:{peer.port}"
    async with server:
        yield peer
