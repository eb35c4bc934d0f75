"""The retry schedule: the waits of CONTRACTS, jitter, Retry-After, and an end."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from pulse_core.schedule import CONTRACT, Schedule

S = 1_000_000
HOUR_S = 3600
END_S = 72 * HOUR_S
NO_JITTER = 0.5

schedules = st.builds(
    Schedule,
    waits_s=st.lists(st.floats(0.001, 1e5), max_size=12).map(tuple),
    every_s=st.floats(1, 1e5),
    give_up_s=st.floats(1, 1e6),
    jitter=st.floats(0, 1),
)
randoms = st.floats(0, 1, exclude_max=True)
asked = st.one_of(st.none(), st.floats(), st.integers(-10, 10**30))


def all_attempts_s(schedule: Schedule, random: float = NO_JITTER) -> list[float]:
    """The moments (s after the first attempt) of all attempts at a receiver that always fails at once."""
    moments, now_us, attempt = [0], 0, 1
    while (due := schedule.retry_us(attempt, first_attempt_us=0, now_us=now_us, random=random)) is not None:
        now_us, attempt = due, attempt + 1
        moments.append(due)
    return [moment / S for moment in moments]


def test_the_waits_of_the_contract() -> None:
    moments = all_attempts_s(CONTRACT)
    waits = [after - before for before, after in itertools.pairwise(moments)]
    assert waits[:8] == [5, 30, 120, 600, 1800, 2 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S]
    assert waits[8:-1] == [12 * HOUR_S] * 4
    assert moments[-1] == END_S, "the last attempt stands at 72 h"


def test_jitter_is_a_fifth_either_way() -> None:
    low = CONTRACT.retry_us(1, first_attempt_us=0, now_us=0, random=0.0)
    high = CONTRACT.retry_us(1, first_attempt_us=0, now_us=0, random=math.nextafter(1, 0))
    assert (low, high) == (4 * S, 6 * S)


def test_retry_after_puts_off_but_never_hastens() -> None:
    def due_s(retry_after_s: float) -> float | None:
        due = CONTRACT.retry_us(1, first_attempt_us=0, now_us=0, random=NO_JITTER, retry_after_s=retry_after_s)
        return None if due is None else due / S

    assert due_s(60) == 60
    assert due_s(1) == 5
    assert due_s(10**9) == END_S
    assert due_s(math.inf) == END_S
    assert due_s(math.nan) == due_s(-5) == 5


def test_after_the_end_never_again() -> None:
    assert CONTRACT.retry_us(3, first_attempt_us=0, now_us=END_S * S, random=0, retry_after_s=60) is None


@given(schedules, randoms)
def test_it_always_ends_and_time_only_moves_on(schedule: Schedule, random: float) -> None:
    first = Schedule(
        schedule.waits_s, max(schedule.every_s, schedule.give_up_s / 50), schedule.give_up_s, min(schedule.jitter, 0.9)
    )
    moments = all_attempts_s(first, random)
    assert all(before < after for before, after in itertools.pairwise(moments))
    assert abs(moments[-1] - first.give_up_s) < 1e-5


@given(schedules, randoms, asked, st.integers(1, 100), st.integers(0, 2**50), st.integers(0, 2**50))
def test_whatever_is_asked_the_next_attempt_is_later_and_before_the_end(
    schedule: Schedule, random: float, retry_after_s: float | None, attempt: int, first_us: int, now_us: int
) -> None:
    due = schedule.retry_us(
        attempt, first_attempt_us=first_us, now_us=now_us, random=random, retry_after_s=retry_after_s
    )
    end_us = first_us + round(schedule.give_up_s * S)
    if now_us >= end_us:
        assert due is None
        return
    assert due is not None
    assert now_us < due <= end_us
    if retry_after_s is not None and not math.isnan(retry_after_s) and retry_after_s > 0:
        assert due >= min(end_us, now_us + retry_after_s * S) - 1
