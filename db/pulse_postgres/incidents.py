"""Alerts and deliveries as people read them: the newest first, of one tenant or of all (pulse_operator)."""

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

_DELIVERIES = f"""
    SELECT d.*, i.name AS integration_name, i.type AS integration_type, {us("d.created_at")} AS position
    FROM tenants t CROSS JOIN LATERAL (
        SELECT tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, status, created_at, due_at,
               attempts AS attempt_count, first_attempt_at, finished_at, last_error,
               notification ->> 'device_id' AS device_id
        FROM deliveries WHERE tenant_id = t.tenant_id AND %s
        ORDER BY created_at DESC, delivery_id LIMIT %s) AS d
    JOIN integrations i ON i.tenant_id = d.tenant_id AND i.integration_id = d.integration_id
    WHERE %s ORDER BY d.created_at DESC, d.delivery_id LIMIT %s
"""

_ATTEMPTS = """
    SELECT a.delivery_id, a.attempt, a.started_at, a.duration_ms, a.outcome, a.detail, a.receipt
    FROM unnest($1::text[], $2::uuid[]) AS x (t, d)
    JOIN delivery_attempts a ON a.tenant_id = x.t AND a.delivery_id = x.d
    ORDER BY a.delivery_id, a.attempt
"""


async def alert_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    device_id: str | None = None,
    alert_type: str | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Alerts, the newest first."""
    inner = Where()
    inner.add_given("device_id = {}", device_id)
    inner.add_given("alert_type = {}", alert_type)
    inner.add_given("status = {}", status)
    if status in {"OPEN", "ACKNOWLEDGED"}:
        inner.add("status <> 'CLOSED'")  # a generic plan cannot tell by itself that the index of the few will do
    rows, limit = await _newest(pool, _ALERTS, inner, ("opened_at", "alert_id"), tenant_id, limit, cursor)
    return page_of(rows, limit, _alert, "position", "alert_id")


async def one_alert(pool: asyncpg.Pool[Any], tenant_id: str, alert_id: uuid.UUID) -> dict[str, Any]:
    """One alert with its ``changes``, each with what every route decided about it. Raises NotFound."""
    inner = Where()
    inner.add("alert_id = {}", alert_id)
    rows, _ = await _newest(pool, _ALERTS, inner, ("opened_at", "alert_id"), tenant_id, 1, None)
    if not rows:
        raise NotFound("there is no such alert")
    with asking():
        changes = await pool.fetch(_CHANGES, tenant_id, alert_id)
    return {
        **_alert(rows[0]),
        "changes": [{**row, "decisions": msgspec.json.decode(row["decisions"])} for row in changes],
    }


async def delivery_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    alert_id: uuid.UUID | None = None,
    integration_id: uuid.UUID | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Deliveries, the newest first, each with its ``attempts`` in order."""
    inner = Where()
    inner.add_given("alert_id = {}", alert_id)
    inner.add_given("integration_id = {}", integration_id)
    inner.add_given("status = {}", status)
    rows, limit = await _newest(pool, _DELIVERIES, inner, ("created_at", "delivery_id"), tenant_id, limit, cursor)
    attempts = await _attempts(pool, rows)
    return page_of(
        rows,
        limit,
        lambda row: {**item_of(row), "attempts": attempts.get(row["delivery_id"], [])},
        "position",
        "delivery_id",
    )


async def one_delivery(pool: asyncpg.Pool[Any], tenant_id: str, delivery_id: uuid.UUID) -> dict[str, Any]:
    """One delivery with its ``attempts``. Raises NotFound."""
    inner = Where()
    inner.add("delivery_id = {}", delivery_id)
    rows, _ = await _newest(pool, _DELIVERIES, inner, ("created_at", "delivery_id"), tenant_id, 1, None)
    if not rows:
        raise NotFound("there is no such delivery")
    attempts = await _attempts(pool, rows)
    return {**item_of(rows[0]), "attempts": attempts.get(delivery_id, [])}


async def _newest(
    pool: asyncpg.Pool[Any],
    query: str,
    inner: Where,
    order: tuple[str, str],
    tenant_id: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[asyncpg.Record], int]:
    limit = within(limit)
    inner.add_position(read_cursor(cursor, _Position), *order)
    outer = inner.outer()
    outer.add_given("t.tenant_id = {}", tenant_id)
    most = outer.put(limit + 1)
    with asking():
        rows = await pool.fetch(query % (inner, most, outer, most), *outer.arguments)
    return rows, limit


async def _attempts(pool: asyncpg.Pool[Any], deliveries: list[asyncpg.Record]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    with asking():
        rows = await pool.fetch(
            _ATTEMPTS, [row["tenant_id"] for row in deliveries], [row["delivery_id"] for row in deliveries]
        )
    for row in rows:
        item = dict(row)
        found.setdefault(item.pop("delivery_id"), []).append(item)
    return found


def _alert(row: asyncpg.Record) -> dict[str, Any]:
    return {
        **item_of(row),
        "severity_name": Severity(row["severity"]).name,
        "details": msgspec.json.decode(row["details"]),
    }
