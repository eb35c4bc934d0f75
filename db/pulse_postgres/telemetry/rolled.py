"""What an hour of a device is rolled up into: six numbers for each metric, and each minute if readings are many.

Numbers are packed as little-endian doubles. A metric's hour is six of them; its minutes are how many there are (one
byte), which (a byte each), and six doubles for each.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain
from struct import Struct as Packing
from struct import unpack_from
from typing import TYPE_CHECKING, NamedTuple

from pulse_core.api import Aggregate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pulse_core.records import MetricValue

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
FEW = 2
"""An hour of no more readings is not rolled up: they themselves are as quickly read, and take no room twice."""
MANY = 120
"""An hour of more readings is rolled up by minutes, too."""

_SIX = Packing("<6d")
_MINUTES = 60


class Numbers(NamedTuple):
    """What is kept of a metric over some time: enough to tell every aggregate, and to be put together with others."""

    many: float
    total: float
    low: float
    high: float
    first: float
    last: float

    def told(self, aggregate: Aggregate) -> float:
        """One number of it."""
        return self.total / self.many if aggregate is Aggregate.AVG else self[_PLACES[aggregate]]

    def then(self, later: Numbers) -> Numbers:
        """Both times together."""
        return Numbers(
            self.many + later.many,
            self.total + later.total,
            min(self.low, later.low),
            max(self.high, later.high),
            self.first,
            later.last,
        )


_PLACES = {
    Aggregate.COUNT: 0,
    Aggregate.SUM: 1,
    Aggregate.MIN: 2,
    Aggregate.MAX: 3,
    Aggregate.FIRST: 4,
    Aggregate.LAST: 5,
}


class RolledHour(NamedTuple):
    """A row of ``telemetry_hours``."""

    readings: int
    metrics: list[str]
    numbers: bytes
    minutes: bytes | None
    others: list[str] | None


class Rolling:
    """Rolls up the readings of one hour of one device, which come in order of (ts, key_hash)."""

    def __init__(self) -> None:
        self._readings = 0
        self._found: dict[str, list[list[float] | None]] = {}
        self._others: set[str] = set()

    def add(self, ts_us: int, metrics: Mapping[str, MetricValue]) -> None:
        """One reading, as it is decoded from JSON: a number is of no class derived from int or float."""
        self._readings += 1
        minute = ts_us // MINUTE_US % _MINUTES
        for name, value in metrics.items():
            if value.__class__ is not float and value.__class__ is not int:
                self._others.add(name)
                continue
            number = float(value)
            minutes = self._found.get(name)
            if minutes is None:
                minutes = self._found[name] = [None] * _MINUTES
            kept = minutes[minute]
            if kept is None:
                minutes[minute] = [1.0, number, number, number, number, number]
                continue
            kept[0] += 1.0
            kept[1] += number
            if number < kept[2]:
                kept[2] = number
            elif number > kept[3]:
                kept[3] = number
            kept[5] = number

    def hour(self) -> RolledHour | None:
        """All of it; None when there is so little that it is not rolled up."""
        if self._readings <= FEW:
            return None
        names = sorted(self._found)
        found = [[(at, six) for at, six in enumerate(self._found[name]) if six is not None] for name in names]
        return RolledHour(
            self._readings,
            names,
            b"".join(_SIX.pack(*_part(list(chain(*(six for _, six in minutes))))) for minutes in found),
            b"".join(_packed(minutes) for minutes in found) if self._readings > MANY else None,
            sorted(self._others) or None,
        )


def hour_of(numbers: bytes, place: int) -> Numbers:
    """The hour of the metric that stands at ``place``."""
    return Numbers._make(_SIX.unpack_from(numbers, place * _SIX.size))


def minutes_of(minutes: bytes, place: int, each: int) -> Iterator[tuple[int, Numbers]]:
    """The minutes of the metric that stands at ``place``, ``each`` (a divisor of 60) put together; with the first."""
    begin = 0
    for _ in range(place):
        begin += 1 + minutes[begin] * (1 + _SIX.size)
    which = minutes[begin + 1 : begin + 1 + minutes[begin]]
    numbers = unpack_from(f"<{6 * len(which)}d", minutes, begin + 1 + len(which))
    since = 0
    for first in range(0, _MINUTES, each):
        until = bisect_left(which, first + each, since)
        if since < until:
            yield first, _part(numbers[6 * since : 6 * until])
        since = until


def _part(numbers: Sequence[float]) -> Numbers:
    """The numbers of some minutes, one after the other, put together."""
    many, total, low, high = sum(numbers[::6]), sum(numbers[1::6]), min(numbers[2::6]), max(numbers[3::6])
    return Numbers(many, total, low, high, numbers[4], numbers[-1])


def _packed(minutes: Sequence[tuple[int, list[float]]]) -> bytes:
    which = bytes([len(minutes), *(minute for minute, _ in minutes)])
    return which + b"".join(_SIX.pack(*six) for _, six in minutes)
