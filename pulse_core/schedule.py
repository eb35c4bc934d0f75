"""When to try again: a pure function of the attempt, the clock and a random number."""

from __future__ import annotations

import math

from msgspec import Struct

_SECOND_US = 1_000_000
_HOUR_S = 3600.0


class Schedule(Struct, frozen=True):
    """The retry schedule of CONTRACTS: these waits, then ``every_s``, until ``give_up_s`` after the first attempt.

    Each wait varies by ``jitter`` (0.2: ± 20 %), so that what failed together does not come back together.
    """

    waits_s: tuple[float, ...] = (5, 30, 120, 600, 1800, 2 * _HOUR_S, 5 * _HOUR_S, 10 * _HOUR_S)
    every_s: float = 12 * _HOUR_S
    give_up_s: float = 72 * _HOUR_S
    jitter: float = 0.2

    def retry_us(
        self,
        attempt: int,
        *,
        first_attempt_us: int,
        now_us: int,
        random: float,
        retry_after_s: float | None = None,
    ) -> int | None:
        """When to try again after attempt number ``attempt`` (from 1) failed at ``now_us``; None: never.

        The last attempt is made at the end itself, however long the wait before it would have been.

        :param random: uniform in [0, 1).
        :param retry_after_s: what the receiver asked for: it may put the next attempt off, at most to the end.
        """
        end_us = first_attempt_us + round(self.give_up_s * _SECOND_US)
        if now_us >= end_us:
            return None
        wait_s = self.waits_s[attempt - 1] if attempt <= len(self.waits_s) else self.every_s
        wait_us = max(1, round(wait_s * (1 + self.jitter * (2 * random - 1)) * _SECOND_US))
        return min(now_us + max(wait_us, _asked_us(retry_after_s, end_us - now_us)), end_us)


def _asked_us(retry_after_s: float | None, most_us: int) -> int:
    """Read ``Retry-After`` as microseconds, bounded; a value that is no sensible number asks for nothing."""
    if not isinstance(retry_after_s, int | float) or math.isnan(retry_after_s) or retry_after_s <= 0:
        return 0
    return most_us if retry_after_s * _SECOND_US >= most_us else round(retry_after_s * _SECOND_US)


CONTRACT = Schedule()
"""What integrations get that ask for nothing else."""
