"""Alerts as people read them: the newest first, of one tenant or of all (pulse_operator)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_core.records import Severity
from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import By, Orders, Sorted

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

_DIGITS = 6
"""What a ``real`` is good for."""

# Every index leads with the tenant: so each tenant gives its own newest, and the newest of those are the page.
_ALERTS = """
    SELECT a.* FROM tenants t CROSS JOIN LATERAL (
        SELECT tenant_id, alert_id, device_id, site_id, alert_type, status, severity, confidence, summary, details,
               opened_at, acknowledged_at, closed_at, %s
        FROM alerts WHERE tenant_id = t.tenant_id AND %s ORDER BY %s LIMIT %s) AS a
    WHERE %s ORDER BY %s LIMIT %s
"""

ALERT_ORDERS = Orders(
    by={
        "opened_at": By("opened_at", datetime, backward=True),
        "severity": By("severity", int),
        "status": By("status"),
        "alert_type": By("alert_type"),
        "device_id": By("device_id"),
        "site_id": By("site_id"),
        "acknowledged_at": By("acknowledged_at", datetime, nullable=True),
        "closed_at": By("closed_at", datetime, nullable=True),
    },
    key={"tenant_id": By("tenant_id"), "alert_id": By("alert_id", uuid.UUID)},
    default="-opened_at",
)

_CHANGES = """
    SELECT event, changed_at, decisions, actor, note FROM alert_changes WHERE tenant_id = $1 AND alert_id = $2
    ORDER BY changed_at, event DESC
"""

LOOKED_AT = 5000
"""So many alerts that are not closed are looked at to count them."""
_LIVE_COUNTS = f"""
    SELECT count(*) FILTER (WHERE status = 'OPEN' AND %s) AS "OPEN",
           count(*) FILTER (WHERE status = 'ACKNOWLEDGED' AND %s) AS "ACKNOWLEDGED", count(*) AS looked_at
    FROM (SELECT status, device_id, site_id, alert_type, severity, opened_at FROM alerts
          WHERE %s AND status <> 'CLOSED' LIMIT {LOOKED_AT + 1}) AS live
"""


class AlertFilter(Struct, frozen=True, kw_only=True):
    """Which alerts; what is None does not matter. Opened at ``opened_from`` or later, before ``opened_before``.

    ``severity`` is that one, ``min_severity`` that one or worse. ``live``: those that are not CLOSED.
    """

    device_id: str | None = None
    site_id: str | None = None
    alert_type: str | None = None
    status: str | None = None
    severity: int | None = None
    min_severity: int | None = None
    opened_from: datetime | None = None
    opened_before: datetime | None = None
    live: bool = False

    def where(self) -> Where:
        """The conditions."""
        where = Where()
        for name in ("device_id", "site_id", "alert_type", "status", "severity"):
            where.add_given(f"{name} = {{}}", getattr(self, name))
        where.add_given("severity >= {}", self.min_severity)
        where.add_given("opened_at >= {}", self.opened_from)
        where.add_given("opened_at < {}", self.opened_before)
        if self.live or self.status in {"OPEN", "ACKNOWLEDGED"}:
            where.add("status <> 'CLOSED'")  # a generic plan cannot tell by itself that the index of the few will do
        return where


async def alert_page(
    pool: Connections,
    wanted: AlertFilter,
    *,
    tenant_id: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Alerts, the newest first unless ``sort`` is another of ALERT_ORDERS."""
    part = Sorted(ALERT_ORDERS, sort, limit, cursor)
    return part.page(await of_each_tenant(pool, _ALERTS, "a", wanted.where(), part, tenant_id), _alert)


async def count_live(pool: Connections, wanted: AlertFilter, tenant_id: str) -> tuple[dict[str, int], bool]:
    """How many of a tenant's alerts that are not closed fit, whatever status was wanted, by status.

    True besides: there are more of them than LOOKED_AT, so these are at least so many.
    """
    fits = msgspec.structs.replace(wanted, status=None, live=False).where()
    own = fits.outer()
    own.add("tenant_id = {}", tenant_id)
    with asking():
        row = await pool.fetchrow(_LIVE_COUNTS % (fits, fits, own), *own.arguments)
    counts = dict(row or {})
    more = counts.pop("looked_at", 0) > LOOKED_AT
    return counts, more


async def one_alert(pool: Connections, tenant_id: str, alert_id: uuid.UUID) -> dict[str, Any]:
    """One alert with its ``changes``, each with what every route decided about it. Raises NotFound."""
    inner = Where()
    inner.add("alert_id = {}", alert_id)
    rows = await of_each_tenant(pool, _ALERTS, "a", inner, Sorted(ALERT_ORDERS, None, 1, None), tenant_id)
    if not rows:
        raise NotFound("there is no such alert")
    with asking():
        changes = await pool.fetch(_CHANGES, tenant_id, alert_id)
    return {
        **_alert(rows[0]),
        "changes": [{**row, "decisions": msgspec.json.decode(row["decisions"])} for row in changes],
    }


async def of_each_tenant(
    pool: Connections, query: str, alias: str, inner: Where, part: Sorted, tenant_id: str | None
) -> list[asyncpg.Record]:
    """One row more than a page of ``query``.

    :param query: with places for the position, conditions, order and limit of one tenant's part, and for the
        conditions on tenants, order and limit of the whole.
    :param alias: of the subquery that is one tenant's part.
    """
    part.begin(inner)
    outer = inner.outer()
    outer.add_given("t.tenant_id = {}", tenant_id)
    most = outer.put(part.limit + 1)
    places = (part.position, inner, part.order, most, outer, part.outer_order(alias), most)
    with asking():
        return await pool.fetch(query % places, *outer.arguments)


def _alert(row: asyncpg.Record) -> dict[str, Any]:
    return {
        **item_of(row),
        "confidence": round(row["confidence"], _DIGITS),
        "severity_name": Severity(row["severity"]).name,
        "details": msgspec.json.decode(row["details"]),
    }
