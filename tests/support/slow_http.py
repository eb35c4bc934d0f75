"""A web server on loopback that answers when a test says so, and knows exactly what it was sent, when and how often."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Arrival(Struct, frozen=True):
    """One POST: its ``webhook-id``, its path, and when it was there as a whole (monotonic)."""

    delivery_id: str
    path: str
    at_s: float


class SlowServer:
    """Notes each POST and awaits ``before_answer`` (given the arrival) before it says that all is well."""

    def __init__(self, before_answer: Callable[[Arrival], Awaitable[None]]) -> None:
        self.arrivals: list[Arrival] = []
        self.port = 0
        self._before_answer = before_answer
        self._serving: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, path: str) -> list[Arrival]:
        """What arrived at a path."""
        return [each for each in self.arrivals if each.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(int(_header(head, "content-length")))
                arrival = Arrival(_header(head, "webhook-id"), head.split(" ")[1], time.monotonic())
                self.arrivals.append(arrival)
                await self._before_answer(arrival)
                writer.write(ANSWER)
                await writer.drain()
        writer.transport.abort()
        self._serving.discard(task)

    async def stop(self) -> None:
        """Cut every connection."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)
        await asyncio.sleep(0)  # sockets are closed in the loop's next round


def _header(head: str, name: str) -> str:
    found = re.search(rf"\r\n{name}: *([^\r]*)", head, re.IGNORECASE)
    assert found, head
    return found[1]


@asynccontextmanager
async def slow_server(before_answer: Callable[[Arrival], Awaitable[None]]) -> AsyncIterator[SlowServer]:
    """Run a :class:`SlowServer`."""
    made = SlowServer(before_answer)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            await made.stop()
