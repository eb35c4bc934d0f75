"""What failed last at delivering, of all tenants (pulse_operator): for whoever looks after the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_postgres.acting import asking

if TYPE_CHECKING:
    import asyncpg

NEWEST = 500
"""Failures are looked for among so many of the newest: the cost stays bounded."""

_FAILURES = f"""
    SELECT * FROM (
        SELECT i.type AS channel, a.started_at AS at, a.outcome, a.detail, a.tenant_id, i.integration_id,
               i.name AS integration_name, a.delivery_id, row_number() OVER (
                   PARTITION BY i.type ORDER BY a.started_at DESC, a.tenant_id, a.delivery_id) AS place
        FROM (SELECT tenant_id, delivery_id, started_at, outcome, detail FROM delivery_attempts
              WHERE outcome <> 'DELIVERED' ORDER BY started_at DESC LIMIT {NEWEST}) a
        JOIN deliveries d ON d.tenant_id = a.tenant_id AND d.delivery_id = a.delivery_id
        JOIN integrations i ON i.tenant_id = d.tenant_id AND i.integration_id = d.integration_id) x
    WHERE place <= $1 ORDER BY channel, place
"""


async def last_failures(pool: asyncpg.Pool[Any], of_each: int) -> dict[str, list[dict[str, Any]]]:
    """The newest attempts that failed, by channel: of each at most so many, the newest first."""
    with asking():
        rows = await pool.fetch(_FAILURES, of_each)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        item = dict(row)
        item.pop("place")
        found.setdefault(row["channel"], []).append(item)
    return found
