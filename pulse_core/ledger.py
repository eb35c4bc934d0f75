"""The books: what a check of them states, and which days of readings the check in the background counts. Pure."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Line(Struct, frozen=True):
    """One thing that must hold: ``left`` and ``right`` are the same things, counted in two ways.

    ``difference`` is how many there are too few or too many, so that one too many never hides one too few. ``examples``
    are some of them, by their ids. ``note`` says why nothing was compared.
    """

    name: str
    claim: str
    left: dict[str, int] = {}
    right: dict[str, int] = {}
    difference: int = 0
    examples: tuple[dict[str, Any], ...] = ()
    note: str = ""


class Booked(Struct, frozen=True):
    """What the books say of a day, before its readings are counted. ``kept``: it was not dropped."""

    accepted: int
    expired: int
    kept: bool


class Day(Struct, frozen=True):
    """A day of readings (of ``ts``, in UTC): how many were accepted, and where they are."""

    day: dt.date
    accepted: int
    stored: int
    expired: int

    @property
    def difference(self) -> int:
        """How many are missing, or too many."""
        return abs(self.accepted - self.stored - self.expired)


class Statement(Struct, frozen=True):
    """The books at one moment. ``days`` are those of which the readings were counted."""

    at: dt.datetime
    lines: tuple[Line, ...]
    days: tuple[Day, ...] = ()

    @property
    def balanced(self) -> bool:
        """Everything is where it must be."""
        return not any(line.difference for line in self.lines)

    def shown(self) -> dict[str, Any]:
        """For JSON: ids and times as text."""
        shown: dict[str, Any] = {"at": self.at, "balanced": self.balanced, "lines": self.lines, "days": self.days}
        plain: dict[str, Any] = msgspec.to_builtins(shown)
        return plain


class Rounds:
    """Which days the check in the background counts: a day of readings takes seconds, and there may be ninety.

    Those that something was booked on since they were last counted, or that did not fit then; and one more, so that all
    have their turn: first those that were not counted since the start, then the one that was counted longest ago. Days
    that were dropped have nothing to count, so they are always looked at.
    """

    def __init__(self) -> None:
        self._counted: dict[dt.date, Day] = {}

    def choose(self, books: Mapping[dt.date, Booked]) -> list[dt.date]:
        """The days whose turn it is."""
        chosen = [day for day, booked in books.items() if not booked.kept or self._moved(day, booked)]
        idle = sorted(books.keys() - set(chosen) - self._counted.keys(), reverse=True)
        idle += [day for day in self._counted if day in books and day not in chosen]
        return chosen + idle[:1]

    def counted(self, days: Iterable[Day]) -> None:
        """Remember what was counted."""
        for day in days:
            self._counted.pop(day.day, None)
            self._counted[day.day] = day

    def _moved(self, day: dt.date, booked: Booked) -> bool:
        last = self._counted.get(day)
        if last is None:
            return False
        return last.difference > 0 or (last.accepted, last.expired) != (booked.accepted, booked.expired)
