"""Readings of somebody go, day by day, and stand in the books as gone."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pulse_postgres.acting import acting

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from pulse_postgres.connections import Connections

_DAYS = """
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'telemetry'::regclass ORDER BY 1
"""
# One statement: what goes out of the table stands in the books at the same moment.
_FORGET_DAY = """
    WITH gone AS (
        DELETE FROM telemetry WHERE tenant_id = $1 AND ts >= $2::timestamptz AND ts < $3::timestamptz{} RETURNING true
    ), booked AS (
        INSERT INTO readings_expired AS e (day, expired)
        SELECT $4::date, count(*) FROM gone HAVING count(*) > 0
        ON CONFLICT (day) DO UPDATE SET expired = e.expired + excluded.expired, expired_at = excluded.expired_at
    )
    SELECT count(*) FROM gone
"""
# In this order: whoever makes roll-ups has the marks, so those are waited for, and then no roll-up is missed.
_FORGET_ROLLED_UP = [
    f"DELETE FROM {table} WHERE tenant_id = $1 AND hour >= $2 AND hour < $3 AND ($4::text IS NULL OR device_id = $4)"
    for table in ("telemetry_marks", "telemetry_hours")
]
_OF_TENANT = _FORGET_DAY.format("")
_OF_DEVICE = _FORGET_DAY.format(" AND device_id = $5")
_WITHIN_S = 600


async def days_kept(connection: PoolConnectionProxy[Any]) -> list[dt.date]:
    """The days there are, the oldest first."""
    return [row[0] for row in await connection.fetch(_DAYS)]


async def forget_day(pool: Connections, day: dt.date, tenant_id: str, device_id: str | None = None) -> int:
    """Delete what a tenant, or one device of it, said on a day, in a transaction; return how many readings went.

    :param pool: logs in as pulse_admin. Of a tenant at work, only what devices said that are gone or revoked may go.
    """
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    until = midnight + dt.timedelta(days=1)
    async with acting(pool) as connection:
        if device_id is None:
            gone = await connection.fetchval(_OF_TENANT, tenant_id, midnight, until, day, timeout=_WITHIN_S)
        else:
            gone = await connection.fetchval(_OF_DEVICE, tenant_id, midnight, until, day, device_id, timeout=_WITHIN_S)
        for statement in _FORGET_ROLLED_UP:
            await connection.execute(statement, tenant_id, midnight, until, device_id, timeout=_WITHIN_S)
    return int(gone)


async def forget(pool: Connections, tenant_id: str, device_id: str | None = None) -> int:
    """As :func:`forget_day`, of every day, each in a transaction of its own: if it is interrupted, call it again."""
    async with acting(pool) as connection:
        days = await days_kept(connection)
    return sum([await forget_day(pool, day, tenant_id, device_id) for day in days])
