"""A device's numbers over time, in JSON: its metrics in buckets."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from pulse_core.errors import PermanentFailure
from pulse_server.inputs.series import BUCKETS_AT_MOST, BUCKETS_BY_ITSELF, METRICS_AT_MOST
from pulse_server.web.readings import readings_page

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey, Series, TelemetryStore
    from pulse_server.inputs import TelemetryQuery

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND_US = 1_000_000


async def telemetry_answer(store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery) -> dict[str, Any]:
    """What is answered to a query: a page of readings, or numbers in buckets."""
    if asked.bucket is None:
        return await readings_page(store, key, asked)
    return await series_of(store, key, asked)


async def series_of(store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery) -> dict[str, Any]:
    """The metrics of one device in buckets.

    :raises PermanentFailure: there would be too many.
    """
    bucket_us = asked.bucket_s * _SECOND_US
    end_us = _us(asked.ends) if asked.ends else time.time_ns() // 1000
    start_us = _us(asked.begins) if asked.begins else end_us - BUCKETS_BY_ITSELF * bucket_us
    _demand_few(start_us, end_us, bucket_us)
    names = asked.metrics or await store.metric_names(key, start_us=start_us, end_us=end_us)
    shown = names[:METRICS_AT_MOST]
    found = await store.series(
        key,
        shown,
        start_us=start_us,
        end_us=end_us,
        bucket_us=bucket_us,
        aggregates=asked.aggregates,
        sample=asked.sample,
    )
    return {
        "start": moment(start_us),
        "end": moment(end_us),
        "series": [_item(each, asked.bucket_s) for each in found.series],
        "one_in": found.one_in,
        "more_metrics": len(names) > len(shown),
    }


def moment(at_us: int) -> dt.datetime:
    """Microseconds since the epoch as a time."""
    return _EPOCH + dt.timedelta(microseconds=at_us)


def _item(series: Series, bucket_s: int) -> dict[str, Any]:
    return {
        "name": series.metric,
        "bucket_s": bucket_s,
        "at": [moment(each) for each in series.starts_us],
        "values": series.values,
    }


def _demand_few(start_us: int, end_us: int, bucket_us: int) -> None:
    if start_us >= end_us:
        raise PermanentFailure("the time ends before it begins")
    if -(-end_us // bucket_us) - start_us // bucket_us > BUCKETS_AT_MOST:
        raise PermanentFailure(f"more than {BUCKETS_AT_MOST} buckets: ask for a shorter time, or for longer buckets")


def _us(at: dt.datetime) -> int:
    return (at - _EPOCH) // dt.timedelta(microseconds=1)
