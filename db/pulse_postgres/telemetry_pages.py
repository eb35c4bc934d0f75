"""Readings of many devices in PostgreSQL, page by page; what goes of them, and how much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.api import DeviceKey, Place, SelectedReading, Selection, Size, TelemetryStore
from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import moment, us
from pulse_postgres.telemetry_series import CountedWhereTheyAre, in_time, reading_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_SELECT = f"""
    SELECT {us("ts")}, {us("received_at")}, msg_type, site_id, seq, metrics, device_id, key_hash
    FROM telemetry
    WHERE tenant_id = $1 AND ts >= $2 AND ts < $3
      AND ($4::text[] IS NULL OR device_id = ANY($4)) AND ($5::text[] IS NULL OR site_id = ANY($5))
      AND ($6::text[] IS NULL OR msg_type = ANY($6)) AND ($7::text[] IS NULL OR metrics ?| $7)
      AND ($8::text IS NULL OR (device_id, ts, key_hash) > ($8, $9::timestamptz, $10::bigint))
    ORDER BY device_id, ts, key_hash LIMIT $11
"""
_SIZE = """
    SELECT (SELECT count(*) FROM telemetry WHERE $1::text IS NULL OR tenant_id = $1),
        (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
         WHERE inhparent IN ('telemetry'::regclass, 'telemetry_hours'::regclass))::bigint
"""
# One statement: what goes out of the table stands in the books at the same moment.
_FORGET = """
    WITH gone AS (
        DELETE FROM telemetry WHERE tenant_id = $1 AND ($2::text IS NULL OR device_id = $2) RETURNING ts
    ), booked AS (
        INSERT INTO readings_expired AS e (day, expired)
        SELECT (ts AT TIME ZONE 'UTC')::date, count(*) FROM gone GROUP BY 1
        ON CONFLICT (day) DO UPDATE SET expired = e.expired + excluded.expired, expired_at = excluded.expired_at
    )
    SELECT count(*) FROM gone
"""
# In this order: whoever makes roll-ups has the marks, so those are waited for, and then no roll-up is missed.
_FORGET_ROLLED_UP = [
    f"DELETE FROM {table} WHERE tenant_id = $1 AND ($2::text IS NULL OR device_id = $2)"
    for table in ("telemetry_marks", "telemetry_hours")
]


class KeptInTables(CountedWhereTheyAre, TelemetryStore):
    """What a telemetry store in PostgreSQL does with readings of many devices."""

    async def select(self, wanted: Selection, *, limit: int, after: Place | None = None) -> list[SelectedReading]:
        """See :meth:`TelemetryStore.select`."""
        behind: tuple[Any, ...] = (None, None, None)
        if after is not None:
            behind = (after.device_id, moment(after.ts_us), after.key_hash)
        async with in_time(self._database) as connection:
            rows = await connection.fetch(
                *(_SELECT, wanted.tenant_id, moment(wanted.start_us), moment(wanted.end_us)),
                *(wanted.devices, wanted.sites, wanted.msg_types, wanted.metrics, *behind, limit),
            )
        return [_selected(row, wanted.metrics) for row in rows]

    async def forget_device(self, device: DeviceKey) -> int:
        """See :meth:`TelemetryStore.forget_device`. For the role pulse_admin."""
        return await self._forget(device.tenant_id, device.device_id)

    async def forget_tenant(self, tenant_id: str) -> int:
        """See :meth:`TelemetryStore.forget_tenant`. For the role pulse_admin."""
        return await self._forget(tenant_id, None)

    async def _forget(self, tenant_id: str, device_id: str | None) -> int:
        with unavailable():
            async with self._database.acquire() as connection, connection.transaction():
                gone = int(await connection.fetchval(_FORGET, tenant_id, device_id))
                for statement in _FORGET_ROLLED_UP:
                    await connection.execute(statement, tenant_id, device_id)
        return gone

    async def size(self, tenant_id: str | None = None) -> Size:
        """See :meth:`TelemetryStore.size`. Bytes are known of all tenants together alone."""
        with unavailable():
            (row,) = await self._database.fetch(_SIZE, tenant_id)
        return Size(row[0], (row[1] or 0) if tenant_id is None else None)


def _selected(row: Any, names: Sequence[str] | None) -> SelectedReading:
    reading = reading_of(row)
    if names is not None:
        for name in reading.metrics.keys() - set(names):
            del reading.metrics[name]
    return SelectedReading(Place(row[6], row[0], row[7]), reading)
