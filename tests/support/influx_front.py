"""One port for both: what begins as HTTP/2 goes to Arrow Flight, anything else to HTTP.

InfluxDB 3 serves both on one port, and its clients are given one URL. Here each has a port of its own, and this stands
in front: it also is what an outage takes away, and what may pass nothing on.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

HTTP2 = b"PRI"


class Front:
    """Passes bytes on, to the port they belong to."""

    def __init__(self, http_port: int, flight_port: int) -> None:
        self._behind = {True: flight_port, False: http_port}
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], set[StreamWriter]] = {}
        self._passing = asyncio.Event()
        self._passing.set()
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]

    async def open(self) -> None:
        """Listen, always at the same port."""
        self._place.listen()
        self._server = await asyncio.start_server(self._connected, sock=self._place)

    async def close(self) -> None:
        """Break every connection and take no more; the port stays ours, and refuses who comes."""
        if self._server:
            self._server.close()
            self._server = None
            self._place = _bound(self.port)
        await self.break_all()

    async def break_all(self) -> None:
        """Break every connection there is."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def give_up(self) -> None:
        """Give the port back."""
        self._place.close()

    def pass_on(self, passing: bool) -> None:
        """Pass bytes on, or hold them back, both ways, without a word."""
        if passing:
            self._passing.set()
        else:
            self._passing.clear()

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._connections[task] = {writer}
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            begin = await reader.readexactly(len(HTTP2))
            there, onward = await asyncio.open_connection("127.0.0.1", self._behind[begin == HTTP2])
            writers.add(onward)
            onward.write(begin)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, onward))
                pumps.create_task(self._pump(there, writer))
        for each in writers:
            each.transport.abort()
        del self._connections[task]

    async def _pump(self, source: StreamReader, target: StreamWriter) -> None:
        """Pass on what comes, then the end of it."""
        with suppress(OSError):
            while data := await source.read(2**16):
                await self._passing.wait()
                target.write(data)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()


def _bound(port: int) -> socket.socket:
    """A socket that holds a port; asyncio sends at once only on one whose protocol is said to be TCP."""
    held = socket.socket(proto=socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held
