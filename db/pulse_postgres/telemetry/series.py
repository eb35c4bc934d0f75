"""Readings in PostgreSQL as numbers over time: counted where they are, under whatever guard the connection has."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from math import gcd
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from pulse_core.api import (
    Aggregate,
    DeviceKey,
    PermanentFailure,
    SeriesSet,
    StoredReading,
    TelemetryStore,
)
from pulse_core.telemetry_store import NAMES_OF, parts_of
from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import moment, us
from pulse_postgres.telemetry.rolled import HOUR_US, MINUTE_US, Numbers
from pulse_postgres.telemetry.rolled_hours import (
    Buckets,
    Piece,
    StoredHour,
    pieces_of_hours,
    rolled_hours,
    spans_between,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Iterator, Sequence

    from pulse_postgres.connections import Connections

WITHIN_MS = 5000
"""No answer takes longer than this."""
ROWS_AT_MOST = 1_000_000
VALUES_AT_ONCE = 60_000
"""Of more values than these, some are looked at when that is enough: some 0.15 s of work."""
NAMES_OF_ALL = 20_000
"""Of more readings than these, some are looked at to know what metrics there are."""
_STARTS = attrgetter("starts_us")

# A plan for any time reads every day: measured, 5 s instead of 3 ms.
_WITHIN = """
    SELECT set_config('statement_timeout', $1, true), set_config('plan_cache_mode', 'force_custom_plan', true)
"""
# Times are sent as such, because only what is constant to the planner keeps it from looking at every day there is.
_OF_DEVICE = "tenant_id = $1 AND device_id = $2 AND ts >= $3 AND ts < $4"
# The longest time between two spans is told for the same reason: measured, 12 ms to plan for 30 days and 3 ms without.
_IN_SPANS = f"""
    unnest($5::timestamptz[], $6::timestamptz[]) AS span (since, until) CROSS JOIN LATERAL (
        SELECT ts, key_hash, metrics FROM telemetry
        WHERE {_OF_DEVICE} AND (ts < $7 OR ts >= $8) AND ts >= span.since AND ts < span.until
        OFFSET 0) AS r
"""
_COUNT = f"SELECT count(*) FROM (SELECT FROM {_IN_SPANS} LIMIT $9) AS found"
# One pass over the readings, however many metrics. What LIMIT and OFFSET part is worked out once a reading and not once
# an aggregate. A hash of ts chooses: that of a reading is the same for all that say the same.
_SERIES = f"""
    SELECT {us("date_bin($9::bigint * interval '1 microsecond', ts, timestamptz 'epoch')")} AS starts_us, {{kept}}
    FROM (SELECT ts, key_hash, {{numbers}} FROM (
        SELECT ts, key_hash, {{values}} FROM {_IN_SPANS}
        WHERE $10::integer = 1 OR hashfloat8(date_part('epoch', ts)) % $10::integer = 0
        OFFSET 0) AS found OFFSET 0) AS number
    GROUP BY date_bin($9::bigint * interval '1 microsecond', ts, timestamptz 'epoch') ORDER BY 1
"""
_KEPT = {
    Aggregate.COUNT: "count(n{0})::float8",
    Aggregate.SUM: "sum(n{0})",
    Aggregate.MIN: "min(n{0})",
    Aggregate.MAX: "max(n{0})",
    Aggregate.FIRST: "(array_agg(n{0} ORDER BY ts, key_hash) FILTER (WHERE n{0} IS NOT NULL))[1]",
    Aggregate.LAST: "(array_agg(n{0} ORDER BY ts DESC, key_hash DESC) FILTER (WHERE n{0} IS NOT NULL))[1]",
}
"""In the order of :class:`Numbers`."""
_FIRST_NAME = 11
"""The number of the parameter that is the first metric's name."""

_NAMES = f"""
    SELECT DISTINCT e.key COLLATE "C" FROM {_IN_SPANS} CROSS JOIN LATERAL jsonb_each(r.metrics) AS e
    WHERE jsonb_typeof(e.value) = 'number'
"""
_SOME_NAMES = f"""
    SELECT DISTINCT e.key COLLATE "C" FROM unnest($5::timestamptz[], $6::timestamptz[]) AS part (since, until)
    CROSS JOIN LATERAL (
        SELECT metrics FROM telemetry
        WHERE {_OF_DEVICE} AND ts >= part.since AND ts < part.until
        ORDER BY ts DESC LIMIT {NAMES_OF}) AS r
    CROSS JOIN LATERAL jsonb_each(r.metrics) AS e
    WHERE jsonb_typeof(e.value) = 'number'
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
        """See :meth:`TelemetryStore.metric_names`. Exact, unless very many readings are not rolled up yet."""
        async with in_time(self._database) as connection:
            hours = await rolled_hours(connection, device, start_us, end_us)
            spans = spans_between([hour.starts_us for hour in hours], start_us, end_us)
            names = {name for hour in hours for name in hour.metrics}
            if spans:
                whose = _whose(device, spans)
                many = await connection.fetchval(_COUNT, *whose, NAMES_OF_ALL + 1)
                if many > NAMES_OF_ALL:
                    rows = await connection.fetch(_SOME_NAMES, *_whose(device, parts_of(start_us, end_us))[:6])
                else:
                    rows = await connection.fetch(_NAMES, *whose)
                names.update(row[0] for row in rows)
        return sorted(names)

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
        """See :meth:`TelemetryStore.series`. Hours are taken as they are rolled up; the rest is read.

        What happens between the statements does not matter: whatever time one of them answers for, no other does.
        """
        if not metrics:
            return SeriesSet([])
        piece_us = gcd(bucket_us, HOUR_US)
        rolled = piece_us % MINUTE_US == 0
        hours: list[StoredHour] = []
        async with in_time(self._database) as connection:
            if rolled:
                hours = await rolled_hours(connection, device, start_us, end_us, by_minute=piece_us < HOUR_US)
            spans = spans_between([hour.starts_us for hour in hours], start_us, end_us)
            rows, one_in = await _read(
                connection, device, spans, metrics, piece_us if rolled else bucket_us, aggregates, sample=sample
            )
        buckets = Buckets(metrics, bucket_us)
        pieces = [*pieces_of_hours(hours, metrics, piece_us), *_pieces(rows, len(metrics), one_in)]
        for piece in sorted(pieces, key=_STARTS):
            buckets.add(piece)
        return SeriesSet(buckets.series(aggregates), one_in)

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


async def _read(
    connection: Any,
    device: DeviceKey,
    spans: Sequence[tuple[int, int]],
    metrics: Sequence[str],
    piece_us: int,
    aggregates: Sequence[Aggregate],
    *,
    sample: bool,
) -> tuple[list[asyncpg.Record], int]:
    """The readings themselves in these times, in pieces of this length; and of how many one was looked at."""
    if not spans:
        return [], 1
    whose = _whose(device, spans)
    many = await connection.fetchval(_COUNT, *whose, ROWS_AT_MOST + 1)
    if many > ROWS_AT_MOST and not sample:
        raise PermanentFailure(f"more than {ROWS_AT_MOST} readings: ask for a shorter time, or for a sample")
    one_in = max(1, many * len(metrics) // VALUES_AT_ONCE) if sample else 1
    return await connection.fetch(_query(len(metrics), aggregates), *whose, piece_us, one_in, *metrics), one_in


def _whose(device: DeviceKey, spans: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
    """The parameters of every statement about spans, which are in order."""
    since, until = [moment(span[0]) for span in spans], [moment(span[1]) for span in spans]
    gap = max(zip(until, since[1:], strict=False), key=_length, default=(since[0], since[0]))
    return device.tenant_id, device.device_id, since[0], until[-1], since, until, *gap


def _length(times: tuple[dt.datetime, dt.datetime]) -> dt.timedelta:
    return times[1] - times[0]


def _query(metrics: int, aggregates: Sequence[Aggregate]) -> str:
    places = range(metrics)
    wanted = {Aggregate.COUNT, *aggregates, *([Aggregate.SUM] if Aggregate.AVG in aggregates else [])}
    return _SERIES.format(
        kept=", ".join(_KEPT[each].format(n) if each in wanted else "0.0::float8" for n in places for each in _KEPT),
        numbers=", ".join(f"CASE WHEN jsonb_typeof(v{n}) = 'number' THEN v{n}::float8 END AS n{n}" for n in places),
        values=", ".join(f"metrics -> ${_FIRST_NAME + n}::text AS v{n}" for n in places),
    )


def _pieces(rows: Sequence[asyncpg.Record], metrics: int, one_in: int) -> Iterator[Piece]:
    """What the readings themselves come to. With ``one_in``, counts and sums are estimates."""
    width = len(_KEPT)
    for row in rows:
        for place in range(metrics):
            count, total, *rest = row[1 + place * width : 1 + (place + 1) * width]
            if count:
                yield Piece(row[0], place, Numbers(count * one_in, total * one_in, *rest))


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
