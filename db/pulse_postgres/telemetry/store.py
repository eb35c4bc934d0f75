"""Readings in PostgreSQL: one table, partitioned by day (UTC), written in the batch's own transaction."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

import asyncpg

from pulse_core.errors import StoreUnavailable
from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import DAY_US, at, moment, us
from pulse_postgres.telemetry.marks import Marks
from pulse_postgres.telemetry.pages import KeptInTables
from pulse_postgres.telemetry.series import in_time, reading_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import DeviceKey, PluginConfig, ReadingKey, StoredReading
    from pulse_core.records import Reading

_WRITE = f"""
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, seq, metrics)
    SELECT t, d, {at("ts")}, h, {at("r")}, m, s, q, j::jsonb
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::text[],
                $8::bigint[], $9::text[]) AS x (t, d, ts, h, r, m, s, q, j)
    ON CONFLICT DO NOTHING
"""

# LIMIT keeps the planner from joining: each key is one look-up in the primary key of the few days it may be in.
_KNOWN = f"""
    SELECT k.i FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
        WITH ORDINALITY AS k (t, d, since, until, h, i)
    CROSS JOIN LATERAL (
        SELECT 1 FROM telemetry
        WHERE tenant_id = k.t AND device_id = k.d AND key_hash = k.h
          AND ts >= {at("k.since")} AND ts <= {at("k.until")}
        LIMIT 1) AS found
"""

_HISTORY = f"""
    SELECT {us("ts")} AS ts_us, {us("received_at")} AS received_us, msg_type, site_id, seq, metrics
    FROM telemetry
    WHERE tenant_id = $1 AND device_id = $2 AND ts >= {at("$3::bigint")} AND ts < {at("$4::bigint")}
    ORDER BY ts DESC
    FETCH FIRST $5 ROWS WITH TIES
"""
# Planned for the very types: events have an index of their own.
_HISTORY_OF_TYPES = f"""
    SELECT {us("ts")} AS ts_us, {us("received_at")} AS received_us, msg_type, site_id, seq, metrics
    FROM telemetry
    WHERE tenant_id = $1 AND device_id = $2 AND ts >= $3 AND ts < $4 AND msg_type = ANY($6::text[])
    ORDER BY ts DESC
    FETCH FIRST $5 ROWS WITH TIES
"""
_LATEST_US = 253_402_300_799_000_000
"""The last second of the year 9999: later than any reading."""
_DAYS_AHEAD = 2


class PostgresTelemetryStore(KeptInTables):
    """The default store. Days are made ahead of their readings and dropped whole when they are too old."""

    name: ClassVar[str] = "postgres"
    summary: ClassVar[str] = "Readings in PostgreSQL, partitioned by day."
    transactional: ClassVar[bool] = True

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self._pool: asyncpg.Pool[Any] | None = None
        self._days: set[int] = set()
        self._making = asyncio.Lock()
        self._marks = Marks()

    async def open(self, database: Any) -> None:
        """Keep the host's pool: pulse_pipeline to write, pulse_operator or pulse_web to read."""
        self._pool = database

    async def close(self) -> None:
        """Let go of the pool; it is the host's to close."""
        self._pool = None

    async def prepare(self, readings: Sequence[Reading]) -> None:
        """Make the days that these readings fall in, and the next ones, and mark the hours that go on, if that was not
        done before.

        Outside the batch's transaction: a new day locks the whole table against other new days.
        """
        if not readings:
            return
        today = max(reading.received_us for reading in readings) // DAY_US
        wanted = {reading.ts_us // DAY_US for reading in readings}
        wanted.update(range(today, today + _DAYS_AHEAD + 1))
        if not wanted <= self._days:
            async with self._making:
                if missing := wanted - self._days:
                    await self._make_days(sorted(missing))
        await self._marks.ahead(readings, self._database)

    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:
        """Insert what is not there yet. ``transaction`` is the asyncpg connection that is in the transaction."""
        if not readings:
            return
        try:
            await transaction.execute(_WRITE, *_columns(readings))
        except asyncpg.CheckViolationError:
            self._days.clear()  # a day was dropped meanwhile: prepare() looks again
            raise
        await self._marks.behind(readings, transaction)

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """See :meth:`TelemetryStore.known`: one index look-up a key."""
        if not keys:
            return set()
        since = [key.ts_us if key.since_us is None else key.since_us for key in keys]
        until = [key.ts_us if key.since_us is None else _LATEST_US for key in keys]
        with unavailable():
            rows = await self._database.fetch(
                _KNOWN,
                [key.device.tenant_id for key in keys],
                [key.device.device_id for key in keys],
                since,
                until,
                [key.key_hash for key in keys],
            )
        return {row[0] - 1 for row in rows}

    async def history(
        self,
        device: DeviceKey,
        *,
        start_us: int,
        end_us: int,
        limit: int,
        before_us: int | None = None,
        msg_types: Sequence[str] | None = None,
    ) -> list[StoredReading]:
        """See :meth:`TelemetryStore.history`.

        Readings of the same ``ts`` stay together, so a page may be a little longer than ``limit`` and ``before_us`` =
        the last one's ``ts_us`` never skips any.

        :raises PermanentFailure: with ``msg_types``: it takes too long.
        """
        until_us = end_us if before_us is None else min(end_us, before_us)
        whose = device.tenant_id, device.device_id
        if msg_types is None:
            with unavailable():
                rows = await self._database.fetch(_HISTORY, *whose, start_us, until_us, limit)
        else:
            async with in_time(self._database) as connection:
                rows = await connection.fetch(
                    _HISTORY_OF_TYPES, *whose, moment(start_us), moment(until_us), limit, msg_types
                )
        return [reading_of(row) for row in rows]

    async def drop_before(self, cutoff_us: int) -> int:
        """Drop the days that ended before ``cutoff_us``; return how many.

        :raises StoreUnavailable: when a long query keeps a day from being dropped now.
        """
        cutoff = cutoff_us // DAY_US
        with unavailable():
            dropped = await self._database.fetchval("SELECT drop_telemetry_before($1)", _date(cutoff))
        self._days = {day for day in self._days if day >= cutoff}
        return int(dropped)

    async def _make_days(self, days: Sequence[int]) -> None:
        with unavailable():
            async with self._database.acquire() as connection, connection.transaction():
                for day in days:
                    await connection.execute("SELECT ensure_telemetry_day($1)", _date(day))
        self._days.update(days)

    @property
    def _database(self) -> asyncpg.Pool[Any]:
        if self._pool is None:
            raise StoreUnavailable("the telemetry store is not open")
        return self._pool


def _columns(readings: Sequence[Reading]) -> tuple[list[Any], ...]:
    return (
        [reading.device.tenant_id for reading in readings],
        [reading.device.device_id for reading in readings],
        [reading.ts_us for reading in readings],
        [reading.key_hash for reading in readings],
        [reading.received_us for reading in readings],
        [reading.msg_type for reading in readings],
        [reading.site_id for reading in readings],
        [reading.seq for reading in readings],
        [reading.metrics_json for reading in readings],
    )


def _date(day: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=day)
