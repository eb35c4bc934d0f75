"""Rolls up hours of devices that are marked: a few at a time, from the readings themselves, never by adding up."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec

from pulse_core.errors import StoreUnavailable
from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import us
from pulse_postgres.telemetry.marks import RESTS_US
from pulse_postgres.telemetry.rolled import HOUR_US, Rolling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_postgres.connections import Connections
    from pulse_postgres.telemetry.rolled import RolledHour

MARKS_AT_ONCE = 200
READINGS_AT_ONCE = 5_000
"""After so many readings no other hour is begun: who stores late readings of these hours waits for us."""
WAITING_AT_MOST = 10_000
"""More waiting marks than these are not counted."""
_PAGE = 500
"""Readings that are worked through without letting anybody else in: 1.5 ms."""

_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('telemetry_rollups'))"
_DUE = f"hour < now() - interval '{(HOUR_US + RESTS_US) // 60_000_000} minutes'"
# Locked first and deleted at the end; whoever has locked one is not done with it, and it stays.
_TAKE = f"""
    SELECT tenant_id, device_id, hour FROM telemetry_marks WHERE {_DUE}
    ORDER BY hour LIMIT $1 FOR UPDATE SKIP LOCKED
"""
# A statement later than the one that locked the marks, so it sees what was committed until then.
_READINGS = f"""
    SELECT w.place, {us("r.ts")}, r.metrics
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS w (tenant_id, device_id, hour, place)
    CROSS JOIN LATERAL (
        SELECT ts, metrics FROM telemetry AS t
        WHERE t.tenant_id = w.tenant_id AND t.device_id = w.device_id
          AND t.ts >= w.hour AND t.ts < w.hour + interval '1 hour'
        ORDER BY t.ts, t.key_hash) AS r
"""
_FORGET = """
    DELETE FROM telemetry_{what} AS h USING unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (t, d, hour)
    WHERE h.tenant_id = w.t AND h.device_id = w.d AND h.hour = w.hour
"""
_KEEP = """
    INSERT INTO telemetry_hours (tenant_id, device_id, hour, readings, metrics, numbers, minutes, others)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_WAITING = f"""
    SELECT count(*), {us("min(hour)")}, {us("now()")} FROM (
        SELECT hour FROM telemetry_marks WHERE {_DUE} ORDER BY hour LIMIT {WAITING_AT_MOST}) AS found
"""

_decode = msgspec.json.Decoder().decode


class Step(NamedTuple):
    """What was done in one transaction."""

    hours: int
    readings: int


class Waiting(NamedTuple):
    """What is still to be done."""

    hours: int
    lag_s: float
    """How long the oldest of them could have been done."""


async def roll_up(pool: Connections) -> Step:
    """Roll up some hours that are due, the oldest first; nothing when another process is at it.

    :raises StoreUnavailable: also when retention took a day away meanwhile.
    """
    try:
        with unavailable():
            async with pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_ALONE):
                    return Step(0, 0)
                marks = await connection.fetch(_TAKE, MARKS_AT_ONCE)
                done, readings = await _rolled(connection, marks)
                await _keep(connection, marks[: len(done)], done)
                return Step(len(done), readings)
    except asyncpg.CheckViolationError as error:
        raise StoreUnavailable("a day was dropped while it was rolled up") from error


async def waiting(pool: Connections) -> Waiting:
    """How many hours are due, and for how long."""
    with unavailable():
        (row,) = await pool.fetch(_WAITING)
    return Waiting(row[0], (row[2] - row[1] - HOUR_US - RESTS_US) / 1e6 if row[0] else 0.0)


async def _rolled(connection: Any, marks: Sequence[Any]) -> tuple[list[RolledHour | None], int]:
    """The first of these hours, and how many readings they have; all hours when there are few."""
    rolling = [Rolling()]
    readings = 0
    if marks:
        cursor = await connection.cursor(_READINGS, *_columns(marks))
        while page := await cursor.fetch(_PAGE):
            for place, ts_us, metrics in page:
                while len(rolling) < place:
                    if readings >= READINGS_AT_ONCE:
                        return [each.hour() for each in rolling], readings
                    rolling.append(Rolling())
                rolling[-1].add(ts_us, _decode(metrics))
                readings += 1
    rolling += [Rolling() for _ in range(len(marks) - len(rolling))]
    return [each.hour() for each in rolling[: len(marks)]], readings


async def _keep(connection: Any, marks: Sequence[Any], rolled: Sequence[RolledHour | None]) -> None:
    if not marks:
        return
    rows = [(*mark, *hour) for mark, hour in zip(marks, rolled, strict=True) if hour is not None]
    for day in sorted({row[2].astimezone(dt.UTC).date() for row in rows}):
        await connection.execute("SELECT ensure_telemetry_hours($1)", day)
    await connection.execute(_FORGET.format(what="hours"), *_columns(marks))
    await connection.executemany(_KEEP, rows)
    await connection.execute(_FORGET.format(what="marks"), *_columns(marks))


def _columns(marks: Sequence[Any]) -> tuple[list[str], list[str], list[dt.datetime]]:
    return [mark[0] for mark in marks], [mark[1] for mark in marks], [mark[2] for mark in marks]
