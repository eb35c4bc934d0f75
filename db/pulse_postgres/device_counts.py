"""How many devices are in which derived status, by tenant: without a join of all devices with their states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_postgres.acting import asking

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

STATUSES = ("ONLINE", "STALE", "UNKNOWN", "REVOKED")

_ONLINE = "s.status = 'ONLINE' AND (s.status_until IS NULL OR s.status_until >= now() - interval '5 seconds')"
_STALE = "s.status = 'STALE'"
# As pulse_postgres.devices.STATUS: a revoked device is that whatever its state says, and they are few. What is neither
# of the others is UNKNOWN.
_BY_TENANT = f"""
    SELECT tenant_id, sum(devices)::bigint, sum(online)::bigint, sum(stale)::bigint, sum(revoked)::bigint FROM (
        SELECT tenant_id, count(*) AS devices, 0 AS online, 0 AS stale, 0 AS revoked FROM devices d WHERE %s GROUP BY 1
        UNION ALL
        SELECT tenant_id, 0, count(*) FILTER (WHERE {_ONLINE}), count(*) FILTER (WHERE {_STALE}), 0
        FROM device_state s WHERE %s GROUP BY 1
        UNION ALL
        SELECT d.tenant_id, 0, -count(*) FILTER (WHERE {_ONLINE}), -count(*) FILTER (WHERE {_STALE}), count(*)
        FROM devices d LEFT JOIN device_state s USING (tenant_id, device_id)
        WHERE d.revoked_at IS NOT NULL AND %s GROUP BY 1) AS parts
    GROUP BY 1
"""
_OF_ALL = _BY_TENANT % ("true", "true", "true")
_OF_ONE = _BY_TENANT % ("d.tenant_id = $1", "s.tenant_id = $1", "d.tenant_id = $1")


async def device_counts(pool: Connections, tenant_id: str | None = None) -> dict[str, dict[str, int]]:
    """By tenant the count of each of :data:`STATUSES`; of one tenant, or of all that have devices."""
    with asking():
        rows = await (pool.fetch(_OF_ALL) if tenant_id is None else pool.fetch(_OF_ONE, tenant_id))
    return {row[0]: _counts(*row[1:]) for row in rows}


def _counts(devices: int, online: int, stale: int, revoked: int) -> dict[str, int]:
    unknown = devices - online - stale - revoked
    return {"ONLINE": online, "STALE": stale, "UNKNOWN": unknown, "REVOKED": revoked}
