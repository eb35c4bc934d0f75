"""Readings of several devices of a tenant: a page of them, or their numbers in buckets, by device, site or label."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import Place, Selection
from pulse_core.errors import PermanentFailure
from pulse_postgres.device_groups import device_groups
from pulse_postgres.paging import read_cursor, write_cursor
from pulse_server.exporting.encoding import CsvLines, guarded
from pulse_server.web.csv_answers import csv_lines, csv_table, streamed, wants_csv
from pulse_server.web.readings import shown, span_of
from pulse_server.web.series import item_of, moment, series_lines, times_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quart import Response

    from pulse_core.api import SelectedReading, Series, TelemetryStore
    from pulse_postgres.connections import Connections
    from pulse_server.inputs.telemetry import AcrossQuery

NUMBERS_AT_MOST = 1_000_000
"""So many there may be in an answer, if each bucket of each group has one."""
WITHIN_S = 30.0
_JSON = "application/json"


async def across_answer(store: TelemetryStore, pool: Connections, tenant_id: str, asked: AcrossQuery) -> Response:
    """What is answered to a query across devices.

    :param pool: where the registry is.
    :raises PermanentFailure: it would be too much, or takes too long.
    """
    try:
        async with asyncio.timeout(WITHIN_S):
            if asked.bucket is None:
                return await _readings(store, pool, tenant_id, asked)
            return await _groups(store, pool, tenant_id, asked)
    except TimeoutError as error:
        raise PermanentFailure(f"that takes longer than {WITHIN_S:.0f} s: ask for less") from error


async def _readings(store: TelemetryStore, pool: Connections, tenant_id: str, asked: AcrossQuery) -> Response:
    start_us, end_us = span_of(asked.since, asked.to)
    devices = asked.devices
    if asked.label is not None:
        devices = tuple(await device_groups(pool, tenant_id, devices=devices, sites=asked.sites, label=asked.label))
    wanted = Selection(tenant_id, start_us, end_us, devices=devices, sites=asked.sites, metrics=asked.metrics)
    after = read_cursor(asked.cursor, tuple[str, int, int])
    place = Place(*after) if after else None
    found = [] if devices == () else await store.select(wanted, limit=asked.limit + 1, after=place)
    page, cursor = found[: asked.limit], None
    if len(found) > asked.limit:
        last = page[-1].place
        cursor = write_cursor(last.device_id, last.ts_us, last.key_hash)
    if wants_csv(asked.format):
        lines = CsvLines(asked.metrics)
        return csv_lines(lines.head, page, lines.encode, "telemetry", cursor)
    return streamed(b'{"items":[', enumerate(page), _items, b'],"next":' + msgspec.json.encode(cursor) + b"}", _JSON)


async def _groups(store: TelemetryStore, pool: Connections, tenant_id: str, asked: AcrossQuery) -> Response:
    bucket_us = asked.bucket_s * 1_000_000
    start_us, end_us = times_of(asked.since, asked.to, bucket_us)
    chosen = {"devices": asked.devices, "sites": asked.sites, "label": asked.label}
    groups = await device_groups(pool, tenant_id, by=asked.by, **chosen)  # type: ignore[arg-type] # each has its own
    metrics, aggregates = asked.metrics or (), asked.aggregates
    buckets = -(-end_us // bucket_us) - start_us // bucket_us
    many = len(set(groups.values())) * buckets * len(metrics) * len(aggregates)
    if many > NUMBERS_AT_MOST:
        raise PermanentFailure(
            f"that could be {many} numbers, more than {NUMBERS_AT_MOST}: ask for longer buckets, a shorter time,"
            " fewer devices, or by site"
        )
    devices = tuple(groups) if asked.devices is not None or asked.label is not None else None
    wanted = Selection(tenant_id, start_us, end_us, devices=devices, sites=asked.sites, metrics=metrics)
    found: Mapping[str, Sequence[Series]] = {}
    if groups:
        found = await store.grouped(wanted, groups, bucket_us=bucket_us, aggregates=aggregates)
    if wants_csv(asked.format):
        head = (asked.grouped_by, "metric", "bucket", *aggregates)
        return csv_table(head, _lines(found), "telemetry")
    told = {"start": moment(start_us), "end": moment(end_us), "by": asked.by}
    items = ((place, group, series, asked.bucket_s) for place, (group, series) in enumerate(found.items()))
    return streamed(msgspec.json.encode(told)[:-1] + b',"groups":[', items, _group_items, b"]}", _JSON)


def _lines(found: Mapping[str, Sequence[Series]]) -> Iterator[tuple[Any, ...]]:
    for group, several in found.items():
        name = guarded(group)
        for each in several:
            for line in series_lines(each):
                yield name, *line


def _items(some: Sequence[tuple[int, SelectedReading]]) -> bytes:
    said = [{"device_id": each.place.device_id, **shown(each.reading)} for _, each in some]
    return _between(some[0][0], said)


def _group_items(some: Sequence[tuple[int, str, Sequence[Series], int]]) -> bytes:
    said = [
        {"group": group, "series": [item_of(each, bucket_s) for each in series if each.starts_us]}
        for _, group, series, bucket_s in some
    ]
    return _between(some[0][0], said)


def _between(place: int, said: list[dict[str, Any]]) -> bytes:
    """Part of a JSON array, of which ``place`` items were sent before."""
    return (b"," if place else b"") + msgspec.json.encode(said)[1:-1]
