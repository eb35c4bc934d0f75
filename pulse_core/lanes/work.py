"""What waits for a lane: submitted messages with whoever waits for their outcomes, due wake-ups, changed devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.records import RETRY_LATER, DeviceKey, Outcome, RawMessage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Submission:
    """One call of ``Intake.submit``: its future resolves when every message of it has its outcome."""

    __slots__ = ("_left", "_on_done", "bytes", "future", "outcomes")

    def __init__(
        self,
        count: int,
        size: int,
        future: asyncio.Future[list[Outcome]],
        on_done: Callable[[Submission], None],
    ) -> None:
        self.future = future
        self.bytes = size
        self.outcomes = [RETRY_LATER] * count
        self._left = count
        self._on_done = on_done

    def settle(self, index: int, outcome: Outcome) -> None:
        """Give one message its outcome; the last one answers the submitter."""
        self.outcomes[index] = outcome
        self._left -= 1
        if not self._left:
            self._on_done(self)
            if not self.future.done():
                self.future.set_result(self.outcomes)


class Entry(Struct):
    """A message in a lane's queue, and where its outcome goes.

    A message may be carried more than once before it is answered, so that what must stay the same stands here.
    """

    raw: RawMessage
    submission: Submission
    index: int
    stamp_us: int = 0
    """The time of its reading if the device gave none."""
    known: bool | None = None
    """Whether its reading had been stored already; None: nobody asked."""

    def settle(self, outcome: Outcome) -> None:
        """Answer this message."""
        self.submission.settle(self.index, outcome)


class Work(Struct):
    """What one batch takes on."""

    messages: list[Entry] = []
    due: list[DeviceKey] = []
    changed: list[DeviceKey] = []

    def __len__(self) -> int:
        return len(self.messages) + len(self.due) + len(self.changed)

    def halves(self) -> tuple[Work, Work]:
        """Two smaller works, in order, that make up this one: to find what makes a batch fail."""
        if len(self.messages) > 1:
            middle = len(self.messages) // 2
            return Work(self.messages[:middle]), Work(self.messages[middle:], self.due, self.changed)
        if self.messages:
            return Work(self.messages), Work([], self.due, self.changed)
        if len(self.due) > 1:
            middle = len(self.due) // 2
            return Work([], self.due[:middle]), Work([], self.due[middle:], self.changed)
        if self.due:
            return Work([], self.due), Work([], [], self.changed)
        middle = len(self.changed) // 2
        return Work([], [], self.changed[:middle]), Work([], [], self.changed[middle:])
