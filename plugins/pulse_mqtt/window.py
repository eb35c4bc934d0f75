"""What one connection has handed over and not yet acknowledged, in the order in which it arrived."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from pulse_core.api import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import Intake, Outcome, RawMessage

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0


class Owner(Protocol):
    """Whose window it is."""

    def decided(self, acknowledgements: bytes) -> None:
        """Send these: everything up to here is committed or durably rejected. May be empty (QoS 0)."""

    def waiting(self, waits: bool) -> None:
        """Messages wait for room in the intake (stop reading), or no longer."""

    def failed(self, error: BaseException) -> None:
        """The intake broke its promise; nothing can be acknowledged any more."""


class _Batch:
    """The messages of one chunk, and the acknowledgements that they are owed."""

    __slots__ = ("acknowledgements", "count", "done", "handed_over", "messages", "size")

    def __init__(self, messages: Sequence[RawMessage], acknowledgements: bytes, size: int) -> None:
        self.messages = messages
        self.acknowledgements = acknowledgements
        self.count = len(messages)
        self.size = size
        self.handed_over = False
        self.done = False


class Window:
    """Submits batches in order and releases their acknowledgements in order.

    A batch with a RETRY_LATER among its outcomes keeps those messages, and everything that comes after waits
    behind them: they are submitted again, oldest first, when the intake has room.
    """

    def __init__(self, intake: Intake, owner: Owner) -> None:
        self._intake = intake
        self._owner = owner
        self._batches: deque[_Batch] = deque()
        self._resubmitting: asyncio.Task[None] | None = None
        self._closed = False
        self._draining = False
        self.undecided = 0
        """Messages without an outcome."""
        self.undecided_bytes = 0
        """Their size, as received."""

    def submit(self, messages: Sequence[RawMessage], acknowledgements: bytes, size: int) -> None:
        """Hand messages over, or queue them behind those that wait for room."""
        batch = _Batch(messages, acknowledgements, size)
        self._batches.append(batch)
        self.undecided += batch.count
        self.undecided_bytes += size
        if self._resubmitting is None:
            self._hand_over(batch)

    def close(self) -> None:
        """The connection is gone: nobody is left to acknowledge to."""
        self._closed = True
        self._batches.clear()
        if self._resubmitting is not None:
            self._resubmitting.cancel()

    def drain(self) -> None:
        """Shutting down: wait for outcomes, but not for room. What needs room stays unacknowledged, and what is
        behind it too.
        """
        self._draining = True
        if self._resubmitting is not None:
            self._resubmitting.cancel()
            self._forget_waiting()

    def _forget_waiting(self) -> None:
        kept = deque(takewhile(lambda batch: batch.done or batch.handed_over, self._batches))
        self._batches = kept
        self.undecided = sum(batch.count for batch in kept)
        self.undecided_bytes = sum(batch.size for batch in kept)
        self._owner.decided(b"")

    def _hand_over(self, batch: _Batch) -> asyncio.Future[list[Outcome]]:
        batch.handed_over = True
        future = asyncio.ensure_future(self._intake.submit(batch.messages))
        if future.done():
            self._settle(batch, future)
        else:
            future.add_done_callback(partial(self._settle, batch))
        return future

    def _settle(self, batch: _Batch, future: asyncio.Future[list[Outcome]]) -> None:
        if self._closed:
            return
        if future.cancelled() or future.exception() is not None:
            error = asyncio.CancelledError() if future.cancelled() else future.exception()
            self._owner.failed(error or asyncio.CancelledError())
            return
        later = Verdict.RETRY_LATER
        kept = [
            message
            for message, outcome in zip(batch.messages, future.result(), strict=True)
            if outcome.verdict is later
        ]
        if kept:
            batch.messages = kept
            batch.handed_over = False
            self._wait_for_room()
            return
        batch.done = True
        self._release()

    def _release(self) -> None:
        batches = self._batches
        released = []
        while batches and batches[0].done:
            batch = batches.popleft()
            released.append(batch.acknowledgements)
            self.undecided -= batch.count
            self.undecided_bytes -= batch.size
        if released:
            self._owner.decided(released[0] if len(released) == 1 else b"".join(released))

    def _wait_for_room(self) -> None:
        if self._draining:
            self._forget_waiting()
        elif self._resubmitting is None:
            self._owner.waiting(True)
            self._resubmitting = asyncio.get_running_loop().create_task(self._resubmit())
            self._resubmitting.add_done_callback(self._resubmitted)

    def _resubmitted(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._owner.failed(error)

    async def _resubmit(self) -> None:
        """One batch at a time, oldest first, so that a device's messages stay in order.

        The pause between fruitless attempts only matters to an intake whose :meth:`Intake.room` is too hopeful.
        """
        pause_s = _FIRST_PAUSE_S
        while (batch := self._oldest_waiting()) is not None:
            await self._intake.room()
            await asyncio.wait((self._hand_over(batch),))
            if batch.handed_over:
                pause_s = _FIRST_PAUSE_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self._resubmitting = None
        self._owner.waiting(False)

    def _oldest_waiting(self) -> _Batch | None:
        return next((batch for batch in self._batches if not batch.done and not batch.handed_over), None)
