"""Somebody to tell: an HTTP server on loopback that records what it is sent and fails on request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol

from aiohttp import web
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Mood = Literal["ok", "temporary", "permanent", "silent"]
"""How a receiver reacts: takes it; fails for now; refuses for good; never answers."""


class Received(Struct, frozen=True):
    """One thing that arrived."""

    body: bytes
    headers: Mapping[str, str] = {}
    path: str = ""


class Receiver(Protocol):
    """What :class:`~pulse_core.testing.channels.ChannelContract` needs of whoever is told."""

    mood: Mood
    received: list[Received]

    async def stop(self) -> None:
        """Be gone: nobody listens any more."""


class HttpReceiver:
    """Records every request; ``mood`` decides the answer, or ``status`` (with ``answer_headers``, ``answer``)."""

    def __init__(self) -> None:
        self.mood: Mood = "ok"
        self.status: int | None = None
        self.answer: bytes = b"thank you"
        self.answer_headers: dict[str, str] = {}
        self.received: list[Received] = []
        self.port = 0
        self._ended = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the port and whatever is connected."""
        self._ended.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(body=body, headers=headers, path=request.path_qs))
        if self.mood == "silent":
            await self._ended.wait()
        status = self.status or {"ok": 200, "temporary": 503, "permanent": 400, "silent": 503}[self.mood]
        return web.Response(status=status, body=self.answer, headers=self.answer_headers)


@asynccontextmanager
async def http_receiver() -> AsyncIterator[HttpReceiver]:
    """Run an :class:`HttpReceiver`."""
    receiver = HttpReceiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
