"""How much comes in, by minute, over all processes of the pipeline; and how long it takes to be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_postgres.pool import unavailable

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

LATELY_MIN = 5
"""Rates are over so many minutes and the one that runs; the slowest is looked for in them."""
STEP_MIN = 15
HISTORY_H = 24

_NOW = f"""
    SELECT (COALESCE(sum(accepted), 0) / minutes)::float8 AS accepted_per_min,
           (COALESCE(sum(rejected), 0) / minutes)::float8 AS rejected_per_min,
           (max(slowest_us) / 1000.0)::float8 AS slowest_ms
    FROM (SELECT date_trunc('minute', now()) - interval '{LATELY_MIN} minutes' AS since) AS w
    CROSS JOIN LATERAL (SELECT extract(epoch FROM now() - since) / 60 AS minutes) AS l
    LEFT JOIN intake_minutes ON minute >= since
    GROUP BY minutes
"""
_LAST = "SELECT max(minute) FROM intake_minutes"
_HISTORY = f"""
    SELECT at, COALESCE(sum(i.accepted), 0)::bigint AS accepted, COALESCE(sum(i.rejected), 0)::bigint AS rejected,
           (max(i.slowest_us) / 1000.0)::float8 AS slowest_ms
    FROM (SELECT date_bin('{STEP_MIN} minutes', now(), 'epoch') AS last) l,
         generate_series(last - interval '{HISTORY_H} hours' + interval '{STEP_MIN} minutes', last,
                         interval '{STEP_MIN} minutes') AS at
    LEFT JOIN intake_minutes i ON i.minute >= at AND i.minute < at + interval '{STEP_MIN} minutes'
    GROUP BY at ORDER BY at
"""
_FORGET = "DELETE FROM intake_minutes WHERE minute < now() - interval '2 days'"


class PostgresIntake:
    """What the counts of minutes leave behind (pool as pulse_pipeline)."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def drop_before(self, cutoff_us: int) -> int:  # noqa: ARG002 - nobody looks further back than a day
        """Forget what is older than two days, whatever readings are kept for; return how many rows went."""
        with unavailable():
            tag = await self._pool.execute(_FORGET)
        return int(tag.removeprefix("DELETE "))


async def intake_now(pool: Connections) -> dict[str, Any]:
    """``accepted_per_min``, ``rejected_per_min``, ``slowest_ms`` (None: nothing came lately), ``last_at``."""
    with unavailable():
        rates = await pool.fetchrow(_NOW)
        return {**(rates or {}), "last_at": await pool.fetchval(_LAST)}


async def intake_history(pool: Connections) -> list[dict[str, Any]]:
    """The last 24 hours in quarters of an hour, oldest first: ``at``, ``accepted``, ``rejected``, ``slowest_ms``."""
    with unavailable():
        return [dict(row) for row in await pool.fetch(_HISTORY)]
