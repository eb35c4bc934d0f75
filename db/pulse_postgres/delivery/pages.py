"""Deliveries as people read them: the newest first, with every attempt and what happens next."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_core.records import DeliveryStatus
from pulse_postgres.acting import asking
from pulse_postgres.incidents import of_each_tenant
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import By, Orders, Sorted

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

_DELIVERIES = """
    SELECT d.*, i.name AS integration_name, i.type AS integration_type, b.opened_at AS breaker_opened_at, b.probe_at
    FROM tenants t CROSS JOIN LATERAL (
        SELECT tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, caused_by, status, created_at,
               due_at, attempts AS attempt_count, first_attempt_at, finished_at, last_error,
               notification ->> 'device_id' AS device_id, %s
        FROM deliveries WHERE tenant_id = t.tenant_id AND %s ORDER BY %s LIMIT %s) AS d
    JOIN integrations i ON i.tenant_id = d.tenant_id AND i.integration_id = d.integration_id
    LEFT JOIN breakers b ON b.tenant_id = d.tenant_id AND b.integration_id = d.integration_id
    WHERE %s ORDER BY %s LIMIT %s
"""

DELIVERY_ORDERS = Orders(
    by={
        "created_at": By("created_at", datetime, backward=True),
        "due_at": By("due_at", datetime),
        "finished_at": By("finished_at", datetime, nullable=True),
        "status": By("status"),
        "attempt_count": By("attempts", int),
    },
    key={"tenant_id": By("tenant_id"), "delivery_id": By("delivery_id", uuid.UUID)},
    default="-created_at",
)

_ATTEMPTS = """
    SELECT a.delivery_id, a.attempt, a.started_at, a.duration_ms, a.outcome, a.detail, a.receipt, a.address, a.tls,
           a.next_at
    FROM unnest($1::text[], $2::uuid[]) AS x (t, d)
    JOIN delivery_attempts a ON a.tenant_id = x.t AND a.delivery_id = x.d
    ORDER BY a.delivery_id, a.attempt
"""

_OF_AN_ALERT_AT_MOST = 1000
_CAUSED_AT_MOST = 20

_CAUSED = f"""
    SELECT delivery_id, cause, status, created_at FROM deliveries WHERE tenant_id = $1 AND caused_by = $2
    ORDER BY created_at, delivery_id LIMIT {_CAUSED_AT_MOST}
"""
# One transaction makes them, and it gives them all its own time.
_BATCH = """
    SELECT b.status, b.cause, b.created_at, count(*) AS count FROM deliveries d
    JOIN deliveries b ON b.tenant_id = d.tenant_id AND b.created_at = d.created_at AND b.cause = d.cause
    WHERE d.tenant_id = $1 AND d.delivery_id = $2 GROUP BY b.status, b.cause, b.created_at
"""
_FINISHED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.CANCELLED})


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Which deliveries; what is None does not matter. Made at ``created_from`` or later, before ``created_before``."""

    status: str | None = None
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    delivery_ids: list[uuid.UUID] | None = None

    def where(self, where: Where, columns: str = "") -> Where:
        """Add the conditions; ``columns`` stands before each column's name (``d.``)."""
        for name, value in (
            ("status", self.status),
            ("integration_id", self.integration_id),
            ("alert_id", self.alert_id),
            ("cause", self.cause),
        ):
            where.add_given(f"{columns}{name} = {{}}", value)
        where.add_given(f"{columns}created_at >= {{}}", self.created_from)
        where.add_given(f"{columns}created_at < {{}}", self.created_before)
        where.add_given(f"{columns}delivery_id = ANY({{}}::uuid[])", self.delivery_ids)
        return where


async def delivery_page(
    pool: Connections,
    wanted: DeliveryFilter,
    *,
    tenant_id: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Deliveries, each with its ``attempts``; the newest first unless ``sort`` is another of DELIVERY_ORDERS."""
    part = Sorted(DELIVERY_ORDERS, sort, limit, cursor)
    rows = await of_each_tenant(pool, _DELIVERIES, "d", wanted.where(Where()), part, tenant_id)
    attempts = await _attempts(pool, rows)
    return part.page(rows, lambda row: _item(row, attempts))


async def one_delivery(pool: Connections, tenant_id: str, delivery_id: uuid.UUID) -> dict[str, Any]:
    """One delivery with its ``attempts``. Raises NotFound."""
    inner = Where()
    inner.add("delivery_id = {}", delivery_id)
    rows = await of_each_tenant(pool, _DELIVERIES, "d", inner, Sorted(DELIVERY_ORDERS, None, 1, None), tenant_id)
    if not rows:
        raise NotFound("there is no such delivery")
    return _item(rows[0], await _attempts(pool, rows))


async def deliveries_of_alert(pool: Connections, tenant_id: str, alert_id: uuid.UUID) -> list[dict[str, Any]]:
    """What was delivered about an alert, the oldest first; of more than 1,000 the newest."""
    inner = Where()
    inner.add("alert_id = {}", alert_id)
    part = Sorted(DELIVERY_ORDERS, None, _OF_AN_ALERT_AT_MOST, None, at_most=_OF_AN_ALERT_AT_MOST)
    rows = (await of_each_tenant(pool, _DELIVERIES, "d", inner, part, tenant_id))[: part.limit]
    attempts = await _attempts(pool, rows)
    return [_item(row, attempts) for row in reversed(rows)]


async def caused_by(pool: Connections, tenant_id: str, delivery_id: uuid.UUID) -> list[dict[str, Any]]:
    """What a delivery caused, the oldest first: its fallback, its replays. Each: delivery_id, cause, status, when."""
    with asking():
        return [dict(row) for row in await pool.fetch(_CAUSED, tenant_id, delivery_id)]


async def batch_of(pool: Connections, tenant_id: str, delivery_id: uuid.UUID) -> dict[str, Any]:
    """What was made at once with a delivery, and for the same cause: how many, how many in each status, when.

    :raises NotFound: there is no such delivery.
    """
    with asking():
        rows = await pool.fetch(_BATCH, tenant_id, delivery_id)
    if not rows:
        raise NotFound("there is no such delivery")
    counts = {row["status"]: row["count"] for row in rows}
    return {
        "cause": rows[0]["cause"],
        "created_at": rows[0]["created_at"],
        "count": sum(counts.values()),
        "finished": sum(count for status, count in counts.items() if status in _FINISHED),
        "statuses": {str(status): counts.get(status, 0) for status in DeliveryStatus},
    }


async def _attempts(pool: Connections, deliveries: list[asyncpg.Record]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    with asking():
        rows = await pool.fetch(
            _ATTEMPTS, [row["tenant_id"] for row in deliveries], [row["delivery_id"] for row in deliveries]
        )
    for row in rows:
        item = dict(row)
        found.setdefault(item.pop("delivery_id"), []).append(item)
    return found


def _item(row: asyncpg.Record, attempts: dict[uuid.UUID, list[dict[str, Any]]]) -> dict[str, Any]:
    item = item_of(row)
    opened_at, probe_at = item.pop("breaker_opened_at"), item.pop("probe_at")
    return {**item, "attempts": attempts.get(row["delivery_id"], []), "next": _next(item, opened_at, probe_at)}


def _next(item: dict[str, Any], opened_at: datetime | None, probe_at: datetime | None) -> dict[str, Any] | None:
    """What happens to a delivery next, and when; None: nothing any more."""
    if item["status"] == "SENDING":
        return {"what": "an attempt is under way"}
    if item["status"] not in {"PENDING", "RETRYING"}:
        return None
    if opened_at is not None:
        return {"what": "waits: its endpoint is not reachable", "since": opened_at, "probe_at": probe_at}
    return {"what": "retry" if item["attempt_count"] else "first attempt", "at": item["due_at"]}
