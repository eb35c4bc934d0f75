"""Breakers as they are stored: while one is open, a row for each integration behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.outbox import OpenBreaker
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    from asyncpg import Pool
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.outbox import BreakerChanges

# An integration may be gone meanwhile. Always in the same order, so that two workers cannot block each other.
_OPEN = f"""
    INSERT INTO breakers (tenant_id, integration_id, opened_at, probe_at, failures, last_error)
    SELECT k.t, k.i, {at("k.opened")}, {at("k.probe")}, k.failures, k.error
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::integer[], $6::text[])
        AS k (t, i, opened, probe, failures, error)
    JOIN integrations i ON i.tenant_id = k.t AND i.integration_id = k.i AND i.deleted_at IS NULL
    ORDER BY k.t, k.i
    ON CONFLICT (tenant_id, integration_id) DO UPDATE SET opened_at = LEAST(breakers.opened_at, excluded.opened_at),
        probe_at = excluded.probe_at, failures = excluded.failures, last_error = excluded.last_error
"""
_CLOSE = """
    DELETE FROM breakers b USING unnest($1::text[], $2::uuid[]) AS k (t, i)
    WHERE b.tenant_id = k.t AND b.integration_id = k.i
"""
_ALL = f"""
    SELECT b.tenant_id, b.integration_id, {us("b.opened_at")}, {us("b.probe_at")}, b.failures, b.last_error
    FROM breakers b JOIN integrations i USING (tenant_id, integration_id) WHERE i.deleted_at IS NULL
"""


async def write_breakers(connection: PoolConnectionProxy[Any], changes: BreakerChanges) -> None:
    """Store how breakers stand now."""
    closed = sorted(key for key, row in changes.items() if row is None)
    if closed:
        await connection.execute(_CLOSE, [tenant_id for tenant_id, _ in closed], [each for _, each in closed])
    rows = [row for row in changes.values() if row is not None]
    if rows:
        await connection.execute(
            _OPEN,
            [row.tenant_id for row in rows],
            [row.integration_id for row in rows],
            [row.opened_us for row in rows],
            [row.probe_us for row in rows],
            [row.failures for row in rows],
            [row.last_error for row in rows],
        )


async def read_breakers(pool: Pool[Any]) -> list[OpenBreaker]:
    """Every breaker that is open."""
    return [OpenBreaker(*row) for row in await pool.fetch(_ALL)]
