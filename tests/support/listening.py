"""A program that listens to a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp


@dataclass
class Heard:
    """What came so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    events: list[tuple[str, Any]] = field(default_factory=list)
    """Name and data."""
    ids: list[str] = field(default_factory=list)
    comments: int = 0
    ended: bool = False
    answer: bytes = b""
    """What came instead of a stream."""

    def of(self, kind: str) -> set[str]:
        """Ids of a kind that were named as changed."""
        return {each for name, data in self.events if name == "changed" for each in data.get(kind) or ()}

    def names(self) -> list[str]:
        """The events' names."""
        return [name for name, _ in self.events]

    async def until(self, name: str, within_s: float = 30.0) -> None:
        """Wait for an event of that name."""
        await until(lambda: name in self.names(), what=f"an event {name}", within_s=within_s)


@asynccontextmanager
async def listening(http: aiohttp.ClientSession, url: str, token: str, **headers: str) -> AsyncIterator[Heard]:
    """Listen until the block ends; at its begin the first event is there, or a refusal."""
    heard = Heard()

    async def listen() -> None:
        sent = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", **headers}
        try:
            async with http.get(url, headers=sent, timeout=_for_ever()) as answer:
                heard.status, heard.headers = answer.status, dict(answer.headers)
                if answer.content_type != "text/event-stream":
                    heard.answer = await answer.read()
                    return
                async for block in _blocks(answer):
                    _take(heard, block)
        except OSError:
            pass  # it was cut off, which is an end as well
        finally:
            heard.ended = True

    task = asyncio.create_task(listen())
    try:
        await until(lambda: heard.events or heard.ended, what="the first event")
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _for_ever() -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_read=None)


async def _blocks(answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
    text = ""
    async for part in answer.content.iter_any():
        text += part.decode()
        *blocks, text = text.split("\n\n")
        for block in blocks:
            yield block


def _take(heard: Heard, block: str) -> None:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
    heard.comments += block.startswith(":")
    if "id" in fields:
        heard.ids.append(fields["id"])
    if "event" in fields:
        heard.events.append((fields["event"], json.loads(fields["data"])))
