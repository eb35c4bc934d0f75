"""Alerts as people read them: the newest first, of one tenant or of all (pulse_operator)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.errors import NotFound
from pulse_core.records import Severity
from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of, page_of, read_cursor, within
from pulse_postgres.sqltime import us

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

_DIGITS = 6
"""What a ``real`` is good for."""

_Position = tuple[int, uuid.UUID]

# Every index leads with the tenant: so each tenant gives its own newest, and the newest of those are the page.
_ALERTS = f"""
    SELECT a.*, {us("a.opened_at")} AS position
    FROM tenants t CROSS JOIN LATERAL (
        SELECT tenant_id, alert_id, device_id, site_id, alert_type, status, severity, confidence, summary, details,
               opened_at, acknowledged_at, closed_at
        FROM alerts WHERE tenant_id = t.tenant_id AND %s
        ORDER BY opened_at DESC, alert_id LIMIT %s) AS a
    WHERE %s ORDER BY a.opened_at DESC, a.alert_id LIMIT %s
"""

_CHANGES = """
    SELECT event, changed_at, decisions FROM alert_changes WHERE tenant_id = $1 AND alert_id = $2
    ORDER BY changed_at, event DESC
"""


async def alert_page(
    pool: Connections,
    *,
    tenant_id: str | None = None,
    device_id: str | None = None,
    alert_type: str | None = None,
    status: str | None = None,
    live: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Alerts, the newest first; ``live``: those that are not CLOSED."""
    inner = Where()
    inner.add_given("device_id = {}", device_id)
    inner.add_given("alert_type = {}", alert_type)
    inner.add_given("status = {}", status)
    if live or status in {"OPEN", "ACKNOWLEDGED"}:
        inner.add("status <> 'CLOSED'")  # a generic plan cannot tell by itself that the index of the few will do
    rows, limit = await newest(pool, _ALERTS, inner, ("opened_at", "alert_id"), tenant_id, limit, cursor)
    return page_of(rows, limit, _alert, "position", "alert_id")


async def one_alert(pool: Connections, tenant_id: str, alert_id: uuid.UUID) -> dict[str, Any]:
    """One alert with its ``changes``, each with what every route decided about it. Raises NotFound."""
    inner = Where()
    inner.add("alert_id = {}", alert_id)
    rows, _ = await newest(pool, _ALERTS, inner, ("opened_at", "alert_id"), tenant_id, 1, None)
    if not rows:
        raise NotFound("there is no such alert")
    with asking():
        changes = await pool.fetch(_CHANGES, tenant_id, alert_id)
    return {
        **_alert(rows[0]),
        "changes": [{**row, "decisions": msgspec.json.decode(row["decisions"])} for row in changes],
    }


async def newest(
    pool: Connections,
    query: str,
    inner: Where,
    order: tuple[str, str],
    tenant_id: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[asyncpg.Record], int]:
    """One row more than a page of ``query``, and the page's size.

    :param query: with places for the conditions of one tenant's part, its limit, those on tenants, and the limit.
    :param order: the columns of the time (newest first) and of the id.
    """
    limit = within(limit)
    inner.add_position(read_cursor(cursor, _Position), *order)
    outer = inner.outer()
    outer.add_given("t.tenant_id = {}", tenant_id)
    most = outer.put(limit + 1)
    with asking():
        rows = await pool.fetch(query % (inner, most, outer, most), *outer.arguments)
    return rows, limit


def _alert(row: asyncpg.Record) -> dict[str, Any]:
    return {
        **item_of(row),
        "confidence": round(row["confidence"], _DIGITS),
        "severity_name": Severity(row["severity"]).name,
        "details": msgspec.json.decode(row["details"]),
    }
