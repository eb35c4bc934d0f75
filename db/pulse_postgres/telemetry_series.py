"""Readings in PostgreSQL as numbers over time: counted where they are, under whatever guard the connection has."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from pulse_core.api import (
    Aggregate,
    DeviceKey,
    PermanentFailure,
    Series,
    SeriesSet,
    StoredReading,
    TelemetryStore,
)
from pulse_core.telemetry_store import NAMES_OF, parts_of
from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import moment, us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pulse_postgres.connections import Connections

WITHIN_MS = 5000
"""No answer takes longer than this."""
ROWS_AT_MOST = 1_000_000
VALUES_AT_ONCE = 60_000
"""Of more values than these, some are looked at when that is enough: some 0.15 s of work."""

# A plan for any time reads every day: measured, 5 s instead of 3 ms.
_WITHIN = """
    SELECT set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_custom_plan', true)
"""
# Times are sent as such, because only what is constant to the planner keeps it from looking at every day there is.
_OF_DEVICE = "tenant_id = $1 AND device_id = $2 AND ts >= $3 AND ts < $4"
_COUNT = f"SELECT count(*) FROM (SELECT FROM telemetry WHERE {_OF_DEVICE} LIMIT $5) AS found"
# One pass over the readings, however many metrics. What LIMIT and OFFSET part is worked out once a reading and not once
# an aggregate. A hash of ts chooses: that of a reading is the same for all that say the same.
_SERIES = f"""
    SELECT {us("date_bin($5::bigint * interval '1 microsecond', ts, timestamptz 'epoch')")} AS starts_us, {{told}}
    FROM (SELECT ts, {{numbers}} FROM (
        SELECT ts, {{values}} FROM telemetry
        WHERE {_OF_DEVICE} AND ($6::integer = 1 OR hashfloat8(date_part('epoch', ts)) % $6::integer = 0)
        OFFSET 0) AS found OFFSET 0) AS number
    GROUP BY date_bin($5::bigint * interval '1 microsecond', ts, timestamptz 'epoch') ORDER BY 1
"""
_TOLD = {
    Aggregate.AVG: "sum(n{0}) / nullif(count(n{0}), 0)",
    Aggregate.MIN: "min(n{0})",
    Aggregate.MAX: "max(n{0})",
    Aggregate.SUM: "sum(n{0})",
    Aggregate.COUNT: "nullif(count(n{0}), 0)::float8",
    Aggregate.FIRST: "(array_agg(n{0} ORDER BY ts) FILTER (WHERE n{0} IS NOT NULL))[1]",
    Aggregate.LAST: "(array_agg(n{0} ORDER BY ts DESC) FILTER (WHERE n{0} IS NOT NULL))[1]",
}
_ESTIMATED = (Aggregate.SUM, Aggregate.COUNT)
_FIRST_NAME = 7
"""The number of the parameter that is the first metric's name."""

_NAMES = f"""
    SELECT DISTINCT e.key COLLATE "C" FROM unnest($5::timestamptz[], $6::timestamptz[]) AS part (since, until)
    CROSS JOIN LATERAL (
        SELECT metrics FROM telemetry
        WHERE {_OF_DEVICE} AND ts >= part.since AND ts < part.until
        ORDER BY ts DESC LIMIT {NAMES_OF}) AS r
    CROSS JOIN LATERAL jsonb_each(r.metrics) AS e
    WHERE jsonb_typeof(e.value) = 'number' ORDER BY 1
"""
_RECENT = f"""
    SELECT d.tenant_id, d.device_id, {us("r.ts")}, {us("r.received_at")}, r.msg_type, r.site_id, r.seq, r.metrics
    FROM unnest($1::text[], $2::text[]) AS d (tenant_id, device_id)
    CROSS JOIN LATERAL (
        SELECT * FROM telemetry
        WHERE tenant_id = d.tenant_id AND device_id = d.device_id AND ts >= $3 AND ts < $4
        ORDER BY ts DESC LIMIT $5) AS r
"""


def reading_of(row: Sequence[Any]) -> StoredReading:
    """``ts`` and ``received_at`` in microseconds, type, site, number and metrics of a row."""
    return StoredReading(row[0], row[1], row[2], row[3], row[4], msgspec.json.decode(row[5]))


class CountedWhereTheyAre(TelemetryStore):
    """What a telemetry store in PostgreSQL tells of readings as numbers, in a statement each."""

    @property
    @abstractmethod
    def _database(self) -> Connections:
        """Where the readings are. Raises StoreUnavailable: it is not open."""

    async def metric_names(self, device: DeviceKey, *, start_us: int, end_us: int) -> list[str]:
        """See :meth:`TelemetryStore.metric_names`."""
        parts = parts_of(start_us, end_us)
        since, until = [moment(part[0]) for part in parts], [moment(part[1]) for part in parts]
        whole = device.tenant_id, device.device_id, moment(start_us), moment(end_us)
        async with in_time(self._database) as connection:
            rows = await connection.fetch(_NAMES, *whole, since, until)
        return [row[0] for row in rows]

    async def series(
        self,
        device: DeviceKey,
        metrics: Sequence[str],
        *,
        start_us: int,
        end_us: int,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
        sample: bool = False,
    ) -> SeriesSet:
        """See :meth:`TelemetryStore.series`."""
        if not metrics:
            return SeriesSet([])
        whose = (device.tenant_id, device.device_id, moment(start_us), moment(end_us))
        async with in_time(self._database) as connection:
            many = await connection.fetchval(_COUNT, *whose, ROWS_AT_MOST + 1)
            if many > ROWS_AT_MOST and not sample:
                raise PermanentFailure(f"more than {ROWS_AT_MOST} readings: ask for a shorter time, or for a sample")
            one_in = max(1, many * len(metrics) // VALUES_AT_ONCE) if sample else 1
            rows = await connection.fetch(_query(len(metrics), aggregates), *whose, bucket_us, one_in, *metrics)
        width = len(aggregates)
        return SeriesSet(
            [_one(name, aggregates, rows, 1 + width * place, one_in) for place, name in enumerate(metrics)], one_in
        )

    async def recent(
        self, devices: Sequence[DeviceKey], *, since_us: int, end_us: int, limit: int
    ) -> dict[DeviceKey, list[StoredReading]]:
        """See :meth:`TelemetryStore.recent`: some index look-ups a device, all of them in one statement."""
        found: dict[DeviceKey, list[StoredReading]] = {device: [] for device in devices}
        tenants, ids = [each.tenant_id for each in devices], [each.device_id for each in devices]
        async with in_time(self._database) as connection:
            rows = await connection.fetch(_RECENT, tenants, ids, moment(since_us), moment(end_us), limit)
        for row in rows:
            found[DeviceKey(row[0], row[1])].append(reading_of(row[2:]))
        return found


def _query(metrics: int, aggregates: Sequence[Aggregate]) -> str:
    places = range(metrics)
    return _SERIES.format(
        told=", ".join(_TOLD[each].format(place) for place in places for each in aggregates),
        numbers=", ".join(f"CASE WHEN jsonb_typeof(v{n}) = 'number' THEN v{n}::float8 END AS n{n}" for n in places),
        values=", ".join(f"metrics -> ${_FIRST_NAME + n}::text AS v{n}" for n in places),
    )


def _one(name: str, aggregates: Sequence[Aggregate], rows: list[asyncpg.Record], first: int, one_in: int) -> Series:
    there = [row for row in rows if row[first] is not None]
    values = {
        str(each): [row[first + place] * (one_in if each in _ESTIMATED else 1) for row in there]
        for place, each in enumerate(aggregates)
    }
    return Series(name, [row[0] for row in there], values)


@asynccontextmanager
async def in_time(pool: Connections) -> AsyncIterator[Any]:
    """A connection in a transaction of which no statement takes longer than :data:`WITHIN_MS`."""
    with unavailable():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(_WITHIN, str(WITHIN_MS))
            try:
                yield connection
            except asyncpg.QueryCanceledError as error:
                raise PermanentFailure(f"that takes longer than {WITHIN_MS // 1000} s: ask for less") from error
