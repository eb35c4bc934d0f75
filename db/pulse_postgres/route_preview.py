"""What alerts did lately, for asking a route what it would have said to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.records import AlertChange, AlertEvent, DeviceKey, OpenAlert, Severity
from pulse_postgres.acting import asking
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

# The newest are found by their index first, and only those are joined.
_CHANGES = f"""
    SELECT a.alert_id, a.device_id, a.site_id, a.alert_type, a.fingerprint, a.severity, a.confidence, a.summary,
           {us("a.opened_at")} AS opened_us, c.event, {us("c.changed_at")} AS at_us
    FROM (SELECT alert_id, event, changed_at FROM alert_changes
          WHERE tenant_id = $1 AND changed_at >= {at("$2::bigint")}
          ORDER BY changed_at DESC LIMIT $3) AS c
    JOIN alerts a ON a.tenant_id = $1 AND a.alert_id = c.alert_id
    ORDER BY c.changed_at DESC
"""


async def recent_changes(pool: Connections, tenant_id: str, since_us: int, limit: int) -> list[AlertChange]:
    """The newest ``limit`` steps of a tenant's alerts since then, the newest first, without the alerts' details."""
    with asking():
        rows = await pool.fetch(_CHANGES, tenant_id, since_us, limit)
    return [
        AlertChange(
            DeviceKey(tenant_id, row["device_id"]),
            AlertEvent(row["event"]),
            OpenAlert(
                row["alert_id"],
                row["alert_type"],
                row["fingerprint"],
                Severity(row["severity"]),
                row["confidence"],
                row["summary"],
                row["site_id"],
                row["opened_us"],
            ),
            row["at_us"],
        )
        for row in rows
    ]
