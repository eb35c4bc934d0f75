"""Reads hours that are rolled up, and puts pieces of time together into buckets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pulse_core.api import Aggregate, Series
from pulse_postgres.sqltime import moment, us
from pulse_postgres.telemetry.marks import RESTS_US
from pulse_postgres.telemetry.rolled import HOUR_US, MINUTE_US, Numbers, hour_of, minutes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pulse_core.api import DeviceKey

_OF_DEVICE = "tenant_id = $1 AND device_id = $2 AND hour >= $3 AND hour < $4"
_HOURS = f"""
    SELECT {us("hour")}, metrics, numbers, {{minutes}} FROM telemetry_hours
    WHERE {_OF_DEVICE} AND {{wanted}}
      AND hour <> ALL (ARRAY(SELECT hour FROM telemetry_marks WHERE {_OF_DEVICE}))
    ORDER BY hour
"""
_BY_HOUR = _HOURS.format(minutes="NULL::bytea", wanted="true")
_BY_MINUTE = _HOURS.format(minutes="minutes", wanted="minutes IS NOT NULL")


class StoredHour(NamedTuple):
    """An hour of a device that is rolled up, and right."""

    starts_us: int
    metrics: list[str]
    numbers: bytes
    minutes: bytes | None


class Piece(NamedTuple):
    """Some time of the metric at ``place``, no longer than a bucket. Pieces of a metric do not overlap."""

    starts_us: int
    place: int
    numbers: Numbers


class Buckets:
    """Puts pieces, the earliest first, into buckets."""

    def __init__(self, metrics: Sequence[str], bucket_us: int) -> None:
        self._metrics = metrics
        self._bucket_us = bucket_us
        self._found: list[dict[int, Numbers]] = [{} for _ in metrics]

    def add(self, piece: Piece) -> None:
        """The next piece."""
        found = self._found[piece.place]
        at_us = piece.starts_us // self._bucket_us * self._bucket_us
        before = found.get(at_us)
        found[at_us] = piece.numbers if before is None else before.then(piece.numbers)

    def series(self, aggregates: Sequence[Aggregate]) -> list[Series]:
        """One for each metric."""
        return [
            Series(
                metric,
                list(found),
                {str(each): [numbers.told(each) for numbers in found.values()] for each in aggregates},
            )
            for metric, found in zip(self._metrics, self._found, strict=True)
        ]


async def rolled_hours(
    connection: Any, device: DeviceKey, start_us: int, end_us: int, *, by_minute: bool = False
) -> list[StoredHour]:
    """The hours that lie in [start, end) as a whole, as far as they are rolled up (``by_minute``: by minutes)."""
    first_us = -(-start_us // HOUR_US) * HOUR_US
    until_us = min(end_us, time.time_ns() // 1000 - RESTS_US) // HOUR_US * HOUR_US
    if first_us >= until_us:
        return []
    query = _BY_MINUTE if by_minute else _BY_HOUR
    rows = await connection.fetch(query, device.tenant_id, device.device_id, moment(first_us), moment(until_us))
    return [StoredHour(*row) for row in rows]


def spans_between(hours_us: Sequence[int], start_us: int, end_us: int) -> list[tuple[int, int]]:
    """What is left of [start, end) without these hours, which are in order."""
    spans: list[tuple[int, int]] = []
    since_us = start_us
    for hour_us in hours_us:
        if since_us < hour_us:
            spans.append((since_us, hour_us))
        since_us = hour_us + HOUR_US
    if since_us < end_us:
        spans.append((since_us, end_us))
    return spans


def pieces_of_hours(hours: Sequence[StoredHour], metrics: Sequence[str], piece_us: int) -> Iterator[Piece]:
    """What these hours come to, in pieces of an hour or, where they have their minutes, of so many of those."""
    names, there = None, []
    for hour in hours:
        if hour.metrics != names:  # seldom: a device tells of the same metrics all the time
            names = hour.metrics
            there = [(place, names.index(name)) for place, name in enumerate(metrics) if name in names]
        if hour.minutes is None:
            for place, at in there:
                yield Piece(hour.starts_us, place, hour_of(hour.numbers, at))
            continue
        for place, at in there:
            for minute, numbers in minutes_of(hour.minutes, at, piece_us // MINUTE_US):
                yield Piece(hour.starts_us + minute * MINUTE_US, place, numbers)
