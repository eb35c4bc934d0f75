"""Values over time: the readings of one device, put into buckets of equal length and told by one number each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pulse_core.records import MetricValue


class Aggregate(StrEnum):
    """By what a bucket is told."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    FIRST = "first"
    """The value with the earliest ``ts``."""
    LAST = "last"


class Series(Struct, frozen=True):
    """One metric in buckets. Those without a value are left out."""

    metric: str
    starts_us: list[int]
    """When each begins, in order: multiples of its length since the epoch."""
    values: dict[str, list[float]]
    """By aggregate: a number for each bucket."""


class SeriesSet(Struct, frozen=True):
    """Several metrics over the same time."""

    series: list[Series]
    one_in: int = 1
    """Of so many readings one was looked at. With more than 1, ``count`` and ``sum`` are estimates."""


_TOLD: dict[Aggregate, Callable[[list[float]], float]] = {
    Aggregate.AVG: lambda values: sum(values) / len(values),
    Aggregate.MIN: min,
    Aggregate.MAX: max,
    Aggregate.SUM: sum,
    Aggregate.COUNT: len,
    Aggregate.FIRST: lambda values: values[0],
    Aggregate.LAST: lambda values: values[-1],
}


def is_number(value: MetricValue) -> bool:
    """Whether a value can be drawn: a truth is no number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric(metrics: Iterable[Mapping[str, MetricValue]]) -> list[str]:
    """The names under which there is a number, in order."""
    return sorted({name for each in metrics for name, value in each.items() if is_number(value)})


def in_buckets(
    metric: str, values: Iterable[tuple[int, MetricValue | None]], bucket_us: int, aggregates: Sequence[Aggregate]
) -> Series:
    """Put what a metric was at some times (microseconds), the earliest first, into buckets; None and no numbers are
    left out.
    """
    found: dict[int, list[float]] = {}
    for ts_us, value in values:
        if value is not None and is_number(value):
            found.setdefault(ts_us // bucket_us * bucket_us, []).append(float(value))
    starts = sorted(found)
    return Series(metric, starts, {each: [_TOLD[each](found[at]) for at in starts] for each in aggregates})
