"""How long to wait before the broker is tried again."""

from __future__ import annotations

import random

_SHORTEST_SHARE = 0.5
_MOST_DOUBLINGS = 16


class Backoff:
    """Each pause is twice as long as the one before, up to a limit, and shortened by chance: not all at once."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = max(first_s, longest_s)
        self._failures = 0

    def next_s(self, lasted_s: float = 0.0) -> float:
        """The next pause (s). After a connection that lasted longer than the longest pause, it begins anew."""
        if lasted_s > self._longest_s:
            self._failures = 0
        doublings: int = min(self._failures, _MOST_DOUBLINGS)
        pause_s = min(self._longest_s, self._first_s * (1 << doublings))
        self._failures += 1
        return pause_s * random.uniform(_SHORTEST_SHARE, 1.0)  # noqa: S311 - spreads load, protects nothing
