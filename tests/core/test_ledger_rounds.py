"""Which days of readings the check in the background counts."""

from __future__ import annotations

import datetime as dt

from pulse_core.ledger import Booked, Day, Rounds

START = dt.date(2026, 3, 1)
DAYS = [START + dt.timedelta(days=number) for number in range(4)]


def books(**changes: Booked) -> dict[dt.date, Booked]:
    made = {day: Booked(10, 0, kept=True) for day in reversed(DAYS)}
    return made | {START + dt.timedelta(days=int(name[1:])): booked for name, booked in changes.items()}


def count(rounds: Rounds, given: dict[dt.date, Booked], *, missing: int = 0) -> list[int]:
    """One check: the numbers of the days that it counted."""
    chosen = rounds.choose(given)
    rounds.counted(Day(day, given[day].accepted, given[day].accepted - missing, 0) for day in chosen)
    return sorted((day - START).days for day in chosen)


def test_every_day_has_its_turn_the_newest_first_and_then_again() -> None:
    rounds = Rounds()
    assert [count(rounds, books()) for _ in range(6)] == [[3], [2], [1], [0], [3], [2]]


def test_a_day_on_which_something_was_booked_is_counted_each_time() -> None:
    rounds = Rounds()
    count(rounds, books())
    for number in range(3):
        assert 3 in count(rounds, books(d3=Booked(11 + number, 0, kept=True)))
    assert count(rounds, books(d3=Booked(13, 0, kept=True))) == [2], "nothing was booked since: its turn comes later"


def test_a_day_that_does_not_fit_stays_in_sight() -> None:
    rounds = Rounds()
    assert count(rounds, books(), missing=1) == [3]
    assert count(rounds, books()) == [2, 3]
    assert count(rounds, books()) == [1]


def test_a_dropped_day_costs_nothing_and_is_always_looked_at() -> None:
    rounds = Rounds()
    gone = Booked(10, 10, kept=False)
    assert count(rounds, books(d0=gone)) == [0, 3]
    assert count(rounds, books(d0=gone)) == [0, 2]


def test_no_days_no_work() -> None:
    assert Rounds().choose({}) == []
