"""Whether those who look on still may: one look every few seconds for all streams that show the same credentials."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pulse_server.notices.hub import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pulse_server.notices.hub import Stream

CHECK_S: Final = 2.5
"""So often it is looked. What providers remember adds 2 s to that."""


class Watch:
    """The streams of one credential."""

    def __init__(self, check: Callable[[], Awaitable[bool]], every_s: float) -> None:
        self.streams: set[Stream] = set()
        self._check = check
        self._every_s = every_s
        self._task = asyncio.get_running_loop().create_task(self._run(), name="streams watched")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if await self._check():
                continue
            for stream in list(self.streams):
                stream.put(event("over", {}))
                stream.end()

    def close(self) -> None:
        """Nobody shows it any more."""
        self._task.cancel()


class Watches:
    """Every credential with which streams are open."""

    def __init__(self, every_s: float = CHECK_S) -> None:
        self._every_s = every_s
        self._watches: dict[bytes, Watch] = {}

    @contextmanager
    def joined(self, credentials: str, check: Callable[[], Awaitable[bool]], stream: Stream) -> Iterator[None]:
        """Until the block ends, end ``stream`` once ``check`` says no.

        :param check: says whether the credentials hold; never raises. That of the first stream is asked for all.
        """
        key = hashlib.sha256(credentials.encode("utf-8", "surrogatepass")).digest()
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(check, self._every_s)
        watch.streams.add(stream)
        try:
            yield
        finally:
            watch.streams.discard(stream)
            if not watch.streams:
                watch.close()
                self._watches.pop(key, None)
