"""A document of the provider's that is kept: fetched now and then, by one at a time, and not too often."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pulse_core.api import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

APART_S = 2.0
"""From the beginning of one fetch to that of the next, at least, whatever is shown to us meanwhile."""
_WAITING_AT_MOST = 500


class Kept(Generic[T]):
    """Younger than ``fresh_s``, it is used as it is; younger than ``usable_s``, too, while the next one is fetched.

    :param fetch: brings it, or raises TemporaryFailure.
    :param tell: is told what was wrong with a fetch; nothing, when it went well.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], tell: Callable[[str], None], *, fresh_s: float, usable_s: float
    ) -> None:
        self._fetch = fetch
        self._tell = tell
        self._fresh_s = fresh_s
        self._usable_s = usable_s
        self._value: T | None = None
        self._got_s = 0.0
        self._fault = ""
        self._running: asyncio.Task[T] | None = None
        self._waiting = 0
        self.began_s: float | None = None
        """When the last fetch began (monotonic)."""

    async def get(self) -> T:
        """What there is. Raises TemporaryFailure: nothing, or only what is too old."""
        age_s = time.monotonic() - self._got_s
        if self._value is None or age_s > self._usable_s:
            return await self.following()
        if age_s > self._fresh_s and not self._is_running and not self._is_cooling:
            self._start()
        return self._value

    async def following(self) -> T:
        """What the fetch that runs brings, or else the next one. Raises TemporaryFailure, also when too many wait."""
        if self._waiting >= _WAITING_AT_MOST:
            raise TemporaryFailure("too many wait for the OpenID provider", retry_after_s=APART_S)
        if not self._is_running and self._fault and self._is_cooling:
            raise TemporaryFailure(self._fault, retry_after_s=APART_S)
        running = self._running if self._running is not None and self._is_running else self._start()
        self._waiting += 1
        try:
            return await asyncio.shield(running)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the fetch that runs."""
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError, TemporaryFailure):
                await self._running

    @property
    def _is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    @property
    def _is_cooling(self) -> bool:
        return self.began_s is not None and time.monotonic() - self.began_s < APART_S

    def _start(self) -> asyncio.Task[T]:
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(_looked_at)
        return self._running

    async def _run(self) -> T:
        if self.began_s is not None:
            await asyncio.sleep(self.began_s + APART_S - time.monotonic())
        began_s = self.began_s = time.monotonic()
        try:
            value = await self._fetch()
        except TemporaryFailure as error:
            self._fault = str(error)
            self._tell(self._fault)
            raise
        self._value, self._got_s, self._fault = value, began_s, ""
        self._tell("")
        return value


def _looked_at(task: asyncio.Task[Any]) -> None:
    """Nobody may have waited for it, and what went wrong is in the log."""
    if not task.cancelled():
        task.exception()
