"""What waits for a lane: messages with whoever waits for their outcomes, disconnects, due wake-ups, changed devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.device_connections import Ending
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


class Disconnect(Struct, frozen=True, gc=False):
    """The last connection of a device has ended, in a way after which its tenant wants it judged at once."""

    key: DeviceKey
    source: str
    """The way in that it had come by."""
    ending: Ending
    at_us: int


class Work(Struct):
    """What one batch takes on, in this order."""

    messages: list[Entry] = []
    disconnects: list[Disconnect] = []
    due: list[DeviceKey] = []
    changed: list[DeviceKey] = []

    def __len__(self) -> int:
        return len(self.messages) + len(self.disconnects) + len(self.due) + len(self.changed)

    def halves(self) -> tuple[Work, Work]:
        """Two smaller works, in order, that make up this one: to find what makes a batch fail."""
        first, second, left = Work(), Work(), len(self) // 2
        for name in self.__struct_fields__:
            these = getattr(self, name)
            setattr(first, name, these[:left])
            setattr(second, name, these[left:])
            left = max(0, left - len(these))
        return first, second
