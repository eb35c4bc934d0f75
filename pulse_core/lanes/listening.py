"""Since when we have been able to hear devices: the staleness clocks that an outage of ours suspends.

A gap can lie with a way in (its source is down), with a lane (its commits fail) or with the whole process (it was
stopped, or the event loop stood still). Silence counts only from the end of the last gap.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pulse_core.api import Listening

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.ports import Clock

LOOP_GAP_US = 2_000_000
"""An event loop that stood still for longer than this has heard nothing meanwhile."""
_BEAT_S = 0.5


class Ears:
    """Which sources are up, and since when everything has been heard."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_us: dict[str, int] = {}
        self._process_since_us = self._last_beat_us = clock.now_us()
        self._hear_again: list[Callable[[], None]] = []

    def on_recovery(self, callback: Callable[[], None]) -> None:
        """Call back whenever a gap ends: wake-ups that were held back may be due again."""
        self._hear_again.append(callback)

    def receiving(self, source: str, up: bool) -> None:
        """A way in reports that its source is up or down."""
        if not up:
            self._since_us.pop(source, None)
        elif source not in self._since_us:
            self._since_us[source] = self._clock.now_us()
            self._recovered()

    def gap_ended(self) -> None:
        """The whole process was deaf until now."""
        self._process_since_us = self._clock.now_us()
        self._recovered()

    def listening(self, source: str, lane_since_us: int) -> Listening:
        """Since when devices that come through ``source`` are heard by a lane; None while the source is down."""
        source_since_us = self._since_us.get(source)
        if source_since_us is None:
            return Listening(None)
        return Listening(max(source_since_us, lane_since_us, self._process_since_us))

    def beat(self) -> None:
        """Say that the event loop turns. A long pause since the last beat was a gap: nothing was heard meanwhile."""
        now_us = self._clock.now_us()
        paused_us, self._last_beat_us = now_us - self._last_beat_us, now_us
        if paused_us > LOOP_GAP_US:
            self.gap_ended()

    async def watch_loop(self) -> None:
        """Beat twice a second until cancelled."""
        while True:
            await asyncio.sleep(_BEAT_S)
            self.beat()

    def _recovered(self) -> None:
        for callback in self._hear_again:
            callback()
