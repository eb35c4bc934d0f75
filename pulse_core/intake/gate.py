"""The gate: how much may be undecided at once, over all ways in. When it is shut, sources stop reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import Gauge

if TYPE_CHECKING:
    from pulse_core.config import PipelineConfig
    from pulse_core.lanes.work import Submission

undecided = Gauge("pulse_undecided_messages", "Messages taken in and not yet answered")
outages = Gauge("pulse_lanes_in_outage", "Lanes whose commits fail at the moment")

_ROOM_AGAIN = 0.75
"""Reading resumes when no more than this share of the limits is taken: no flutter at the edge."""


class Gate:
    """Counts what is undecided, and knows which lanes cannot commit."""

    def __init__(self, config: PipelineConfig) -> None:
        self._most_messages = config.max_undecided_messages
        self._most_bytes = config.max_undecided_bytes
        self._out: dict[int, str] = {}
        self._room = asyncio.Event()
        self._room.set()
        self.messages = 0
        self.bytes = 0
        undecided.set_function(lambda: self.messages)
        outages.set_function(lambda: len(self._out))

    @property
    def in_outage(self) -> bool:
        """Whether some lane cannot commit."""
        return bool(self._out)

    @property
    def outage_reasons(self) -> list[str]:
        """Why, for people: each reason once."""
        return sorted(set(self._out.values()))

    def is_open(self) -> bool:
        """Whether another submission may come in."""
        return not self._out and self.messages < self._most_messages and self.bytes < self._most_bytes

    async def room(self) -> None:
        """Return when there is room again, and every lane can commit."""
        await self._room.wait()

    def enter(self, count: int, size: int) -> None:
        """Count a submission in."""
        self.messages += count
        self.bytes += size
        if not self.is_open():
            self._room.clear()

    def leave(self, submission: Submission) -> None:
        """Count an answered submission out."""
        self.messages -= len(submission.outcomes)
        self.bytes -= submission.bytes
        self._open_again()

    def outage(self, shard: int, reason: str) -> None:
        """A lane's commits fail."""
        self._out[shard] = reason
        self._room.clear()

    def recovered(self, shard: int) -> bool:
        """A lane commits again; say whether it was the last one that did not."""
        self._out.pop(shard, None)
        self._open_again()
        return not self._out

    def _open_again(self) -> None:
        free = self.messages < self._most_messages * _ROOM_AGAIN and self.bytes < self._most_bytes * _ROOM_AGAIN
        if free and not self._out:
            self._room.set()
