"""Readings of many devices in PostgreSQL, page by page; what goes of them, and how much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import (
    DeviceKey,
    LatestValue,
    Place,
    SelectedReading,
    Selection,
    Size,
    StoredReading,
    TelemetryStore,
)
from pulse_postgres.paging import Where
from pulse_postgres.sqltime import moment, us
from pulse_postgres.telemetry.days import forget
from pulse_postgres.telemetry.latest import latest_of
from pulse_postgres.telemetry.series import CountedWhereTheyAre, in_time
from pulse_postgres.telemetry.size import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulse_core.records import MetricValue

# A merge of the days' primary keys, which begins behind the place and ends with the page. (Migration 0015: the index is
# in the order of code points.)
_OF_TENANT = f"""
    SELECT {us("ts")}, {us("received_at")}, msg_type, site_id, seq, metrics, device_id, key_hash
    FROM telemetry WHERE {{where}} ORDER BY device_id, ts, key_hash LIMIT {{limit}}
"""
# Device by device as they are given, which a nested loop keeps; one behind another, so that the days of each are read
# one after another, and those of most devices not at all.
_OF_DEVICES = f"""
    SELECT {us("ts")}, {us("received_at")}, msg_type, site_id, seq, metrics, device_id, key_hash
    FROM unnest({{devices}}::text[], {{since}}::timestamptz[], {{hashes}}::bigint[]) AS d (id, since, hash)
    CROSS JOIN LATERAL (
        SELECT * FROM telemetry
        WHERE {{where}} AND device_id = d.id AND ts >= d.since AND (ts, key_hash) > (d.since, d.hash)
        ORDER BY ts, key_hash LIMIT {{limit}}) AS r
    LIMIT {{limit}}
"""
# Sorting all that is behind a place seems cheap to the planner, as long as it underrates how much that is.
_BY_INDEX = "SET LOCAL enable_sort = off"
_GREATEST_HASH = 2**63 - 1
_METRICS = msgspec.json.Decoder(dict[str, int | float | bool | str])


class KeptInTables(CountedWhereTheyAre, TelemetryStore):
    """What a telemetry store in PostgreSQL does with readings of many devices."""

    async def select(self, wanted: Selection, *, limit: int, after: Place | None = None) -> list[SelectedReading]:
        """See :meth:`TelemetryStore.select`: a page is read from the index where it begins."""
        query, arguments = _query(wanted, limit, after)
        async with in_time(self._database) as connection:
            await connection.execute(_BY_INDEX)
            rows = await connection.fetch(query, *arguments)
        read = _reader(wanted.metrics)
        return [
            SelectedReading(
                Place(row[6], row[0], row[7]), StoredReading(row[0], row[1], row[2], row[3], row[4], read(row[5]))
            )
            for row in rows
        ]

    async def latest(self, devices: Sequence[DeviceKey], *, since_us: int) -> dict[DeviceKey, dict[str, LatestValue]]:
        """See :meth:`TelemetryStore.latest`, and :func:`~pulse_postgres.telemetry.latest.latest_of`."""
        return await latest_of(self._database, devices, since_us)

    async def forget_device(self, device: DeviceKey) -> int:
        """See :meth:`TelemetryStore.forget_device`. For pulse_admin, of a device that is gone or revoked."""
        return await forget(self._database, device.tenant_id, device.device_id)

    async def forget_tenant(self, tenant_id: str) -> int:
        """See :meth:`TelemetryStore.forget_tenant`. For pulse_admin, of a tenant that is not at work."""
        return await forget(self._database, tenant_id)

    async def size(self, tenant_id: str | None = None) -> Size:
        """See :meth:`TelemetryStore.size`, and :func:`~pulse_postgres.telemetry.size.size_of` for what is estimated."""
        return await size_of(self._database, tenant_id)


def _query(wanted: Selection, limit: int, after: Place | None) -> tuple[str, list[Any]]:
    where = Where()
    where.add("tenant_id = {}", wanted.tenant_id)
    where.add("ts >= {} AND ts < {}", moment(wanted.start_us), moment(wanted.end_us))
    where.add_given("site_id = ANY({}::text[])", wanted.sites)
    where.add_given("msg_type = ANY({}::text[])", wanted.msg_types)
    where.add_given("metrics ?| {}::text[]", wanted.metrics)
    if wanted.devices is None:
        if after is not None:
            behind = after.device_id, moment(after.ts_us), after.key_hash
            where.add("(device_id, ts, key_hash) > ({}, {}::timestamptz, {}::bigint)", *behind)
        return _OF_TENANT.format(where=where, limit=where.put(limit)), where.arguments
    devices = sorted(each for each in set(wanted.devices) if after is None or each >= after.device_id)
    behind_us, behind_hashes = [wanted.start_us - 1] * len(devices), [_GREATEST_HASH] * len(devices)
    if after is not None and devices[:1] == [after.device_id]:
        behind_us[0], behind_hashes[0] = after.ts_us, after.key_hash
    query = _OF_DEVICES.format(
        devices=where.put(devices),
        since=where.put([moment(each) for each in behind_us]),
        hashes=where.put(behind_hashes),
        where=where,
        limit=where.put(limit),
    )
    return query, where.arguments


def _reader(names: Sequence[str] | None) -> Callable[[str], dict[str, MetricValue]]:
    """What makes metrics of their JSON: all of them, or those of ``names``."""
    if names is None:
        return _METRICS.decode
    among = frozenset(names)
    return lambda text: {name: value for name, value in _METRICS.decode(text).items() if name in among}
