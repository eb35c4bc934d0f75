"""The real clock behind the port."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clock, in microseconds since the epoch."""

    def now_us(self) -> int:
        """Now."""
        return time.time_ns() // 1000
