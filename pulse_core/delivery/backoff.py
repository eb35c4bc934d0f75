"""Waiting longer each time while the database is away."""

from __future__ import annotations

import asyncio
import random

_FIRST_S = 0.1
_LONGEST_S = 5.0


class Backoff:
    """0.1 s, doubling up to 5 s, ± 25 % so that workers do not come back in step."""

    def __init__(self) -> None:
        self._next_s = _FIRST_S

    def reset(self) -> None:
        """Start from the beginning: it worked."""
        self._next_s = _FIRST_S

    def next_s(self) -> float:
        """Return how long to wait now."""
        now_s = self._next_s
        self._next_s = min(_LONGEST_S, 2 * now_s)
        return now_s * random.uniform(0.75, 1.25)  # noqa: S311 - no secret

    async def wait(self) -> None:
        """Wait."""
        await asyncio.sleep(self.next_s())
