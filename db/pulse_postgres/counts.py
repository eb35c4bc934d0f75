"""The dashboard's numbers: of all tenants (pulse_operator), or of one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pulse_core.records import Severity
from pulse_postgres.acting import asking
from pulse_postgres.device_counts import device_counts
from pulse_postgres.paging import Where

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

REJECTED_OVER_MIN = 15
"""Refusals are counted over so many minutes."""

_ALERT_COUNTS = "SELECT severity, count(*) FROM alerts WHERE status <> 'CLOSED' AND %s GROUP BY 1"
_WAITING_COUNTS = """
    SELECT status, count(*) FROM deliveries WHERE status IN ('PENDING', 'SENDING', 'RETRYING') AND %s GROUP BY 1
"""
_FINISHED_COUNTS = """
    SELECT d.status, count(*) FROM tenants t JOIN deliveries d USING (tenant_id)
    WHERE d.created_at > now() - interval '1 day' AND d.status IN ('DELIVERED', 'DEAD', 'CANCELLED') AND %s GROUP BY 1
"""
# '' is the tenant of strangers. Every index leads with the tenant.
_REJECTED_COUNTS = f"""
    SELECT c.reason, sum(c.rejected)::bigint
    FROM (SELECT tenant_id FROM tenants UNION ALL SELECT '') AS t JOIN quarantine_counts c USING (tenant_id)
    WHERE c.minute > now() - interval '{REJECTED_OVER_MIN} minutes' AND %s GROUP BY 1
"""
_TENANT_COUNTS = "SELECT status, count(*) FROM tenants WHERE %s GROUP BY 1"


async def count_all(pool: Connections, *, tenant_id: str | None = None) -> dict[str, dict[str, int]]:
    """The dashboard: devices by status, alerts not closed by severity name, deliveries by status, refusals by reason.

    Deliveries that are finished count if they were made in the last 24 hours.
    """
    devices: Counter[str] = Counter()
    for of_one in (await device_counts(pool, tenant_id)).values():
        devices.update(of_one)
    return {"devices": {status: count for status, count in devices.items() if count}} | await count_events(
        pool, tenant_id=tenant_id
    )


async def count_events(pool: Connections, *, tenant_id: str | None = None) -> dict[str, dict[str, int]]:
    """As :func:`count_all`, without the devices."""
    alerts = await _counted(pool, _ALERT_COUNTS, "tenant_id", tenant_id)
    waiting = await _counted(pool, _WAITING_COUNTS, "tenant_id", tenant_id)
    return {
        "alerts": {Severity(int(number)).name: count for number, count in alerts.items()},
        "deliveries": waiting | await _counted(pool, _FINISHED_COUNTS, "d.tenant_id", tenant_id),
        "rejected": await _counted(pool, _REJECTED_COUNTS, "c.tenant_id", tenant_id),
    }


async def count_tenants(pool: Connections) -> dict[str, int]:
    """Tenants by status."""
    return await _counted(pool, _TENANT_COUNTS, "tenant_id", None)


async def _counted(pool: Connections, query: str, column: str, tenant_id: str | None) -> dict[str, int]:
    where = Where()
    where.add_given(f"{column} = {{}}", tenant_id)
    with asking():
        rows = await pool.fetch(query % where, *where.arguments)
    return {str(row[0]): row[1] for row in rows}
