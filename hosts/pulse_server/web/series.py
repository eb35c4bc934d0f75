"""A device's numbers over time: its metrics in buckets; and how whatever it said is answered, as JSON or as CSV."""

from __future__ import annotations

import datetime as dt
import time
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pulse_core.api import DeviceKey, Place, SelectedReading
from pulse_core.errors import PermanentFailure
from pulse_server.exporting.encoding import CsvLines, guarded, iso
from pulse_server.inputs import TelemetryQuery
from pulse_server.inputs.series import BUCKETS_AT_MOST, BUCKETS_BY_ITSELF, METRICS_AT_MOST
from pulse_server.web.bodies import query_as
from pulse_server.web.csv_answers import csv_lines, csv_table, wants_csv
from pulse_server.web.readings import readings_found, readings_page
from pulse_server.web.replies import demand_ids, reply
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quart import Response

    from pulse_core.api import Series, SeriesSet, TelemetryStore

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND_US = 1_000_000


class _Numbers(NamedTuple):
    found: SeriesSet
    more: bool
    """It has other metrics, too."""


async def telemetry_answer(store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery) -> Response:
    """What is answered to a query: a page of readings, or numbers in buckets; as JSON or as CSV."""
    if not wants_csv(asked.format):
        answer = reply(await (readings_page if asked.bucket is None else series_of)(store, key, asked))
        answer.vary.add("Accept")
        return answer
    name = f"telemetry-{key.device_id}"
    if asked.bucket is None:
        found, cursor = await readings_found(store, key, asked)
        lines = CsvLines(None)
        page = [SelectedReading(Place(key.device_id, each.ts_us, 0), each) for each in found]
        return csv_lines(lines.head, page, lines.encode, name, cursor)
    _, numbers = await _numbers(store, key, asked)
    table = chain.from_iterable(series_lines(each) for each in numbers.found.series)
    return csv_table(("metric", "bucket", *asked.aggregates), table, name)


async def answer_across_tenants(tenant_id: str, device_id: str) -> Response:
    """What a caller who may ask for any tenant's device is answered to its query. Raises NotFound."""
    demand_ids(tenant_id, device_id)
    asked = query_as(TelemetryQuery)
    await services().overview.device(tenant_id, device_id)
    with services().telemetry_of_all() as store:
        return await telemetry_answer(store, DeviceKey(tenant_id, device_id), asked)


async def series_of(store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery) -> dict[str, Any]:
    """The metrics of one device in buckets.

    :raises PermanentFailure: there would be too many.
    """
    (start_us, end_us), numbers = await _numbers(store, key, asked)
    return {
        "start": moment(start_us),
        "end": moment(end_us),
        "series": [item_of(each, asked.bucket_s) for each in numbers.found.series],
        "one_in": numbers.found.one_in,
        "more_metrics": numbers.more,
    }


def times_of(begins: dt.datetime | None, ends: dt.datetime | None, bucket_us: int) -> tuple[int, int]:
    """From when on and until when, in microseconds: without an end, until now; without a beginning, some buckets.

    :raises PermanentFailure: those are too many buckets, or none.
    """
    end_us = _us(ends) if ends else time.time_ns() // 1000
    start_us = _us(begins) if begins else end_us - BUCKETS_BY_ITSELF * bucket_us
    _demand_few(start_us, end_us, bucket_us)
    return start_us, end_us


def series_lines(series: Series) -> Iterator[tuple[Any, ...]]:
    """The numbers of a metric as lines of a table: its name, when a bucket begins, and its numbers."""
    name = guarded(series.metric)
    for at_us, *numbers in zip(series.starts_us, *series.values.values(), strict=True):
        yield name, iso(at_us), *numbers


async def _numbers(store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery) -> tuple[tuple[int, int], _Numbers]:
    bucket_us = asked.bucket_s * _SECOND_US
    start_us, end_us = times_of(asked.begins, asked.ends, bucket_us)
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
    return (start_us, end_us), _Numbers(found, len(names) > len(shown))


def moment(at_us: int) -> dt.datetime:
    """Microseconds since the epoch as a time."""
    return _EPOCH + dt.timedelta(microseconds=at_us)


def item_of(series: Series, bucket_s: int) -> dict[str, Any]:
    """A metric in buckets, for JSON."""
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
