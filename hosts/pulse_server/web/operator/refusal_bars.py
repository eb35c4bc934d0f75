"""Refused messages of the last hour, minute by minute, as bars that a template draws."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTES: Final = 60
HEIGHT: Final = 100
STEP: Final = 10
_GAP: Final = 2
_COLOURS: Final = 5
"""So many reasons have a colour of their own; the others share the last one."""
_LEAST: Final = 1.5
"""What is there can be seen."""


class Bar(Struct, frozen=True):
    """A part of a bar: the refusals of one minute for one reason. ``series`` is its colour."""

    x: int
    y: float
    height: float
    series: int
    title: str


class Bars(Struct, frozen=True):
    """The chart, and the table that says the same."""

    since: dt.datetime
    total: int
    highest: int
    """Of one minute."""
    reasons: list[tuple[str, int, int]]
    """Each reason, its colour and how many, the most first."""
    minutes: list[tuple[dt.datetime, str, int]]
    """The newest first."""
    bars: list[Bar]
    width: int = MINUTES * STEP
    thickness: int = STEP - _GAP


def bars_of(counts: Sequence[tuple[dt.datetime, str, int]], now: dt.datetime) -> Bars:
    """Draw minutes, reasons and counts."""
    since = now.replace(second=0, microsecond=0) - dt.timedelta(minutes=MINUTES - 1)
    counts = [each for each in counts if each[0] >= since]
    reasons, totals = Counter[str](), Counter[dt.datetime]()
    for minute, reason, count in counts:
        reasons[reason] += count
        totals[minute] += count
    colours = {reason: min(at, _COLOURS) for at, (reason, _) in enumerate(reasons.most_common())}
    highest = max(totals.values(), default=0)
    return Bars(
        since=since,
        total=totals.total(),
        highest=highest,
        reasons=[(reason, colours[reason], count) for reason, count in reasons.most_common()],
        minutes=sorted(counts, key=lambda each: (-each[0].timestamp(), each[1])),
        bars=_stacked(counts, colours, since, highest),
    )


def _stacked(
    counts: Sequence[tuple[dt.datetime, str, int]], colours: dict[str, int], since: dt.datetime, highest: int
) -> list[Bar]:
    """The most frequent reason lies at the bottom."""
    bars: list[Bar] = []
    tops: dict[dt.datetime, float] = {}
    for minute, reason, count in sorted(counts, key=lambda each: colours[each[1]]):
        height = max(_LEAST, HEIGHT * count / highest)
        bottom = tops.get(minute, 0.0)
        top = min(HEIGHT, bottom + height)
        x = int((minute - since).total_seconds() // 60) * STEP
        title = f"{minute:%H:%M} UTC: {count} {reason}"
        bars.append(Bar(x, round(HEIGHT - top, 2), round(top - bottom, 2), colours[reason], title))
        tops[minute] = top
    return bars
