"""The audit log as people read it: the newest first, of one tenant or of all (pulse_operator)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import By, Orders, Sorted

if TYPE_CHECKING:
    from collections.abc import Collection

    import asyncpg

    from pulse_postgres.connections import Connections

_ALL = "audit_id, tenant_id, at, actor, action, resource, address, agent, request_id, details"
_OF_CUSTOMERS = "('pulse_web', 'pulse_auth')"
_OWN = f"""
    audit_id, tenant_id, at, actor, action, resource,
    CASE WHEN written_by IN {_OF_CUSTOMERS} THEN address ELSE '' END AS address,
    CASE WHEN written_by IN {_OF_CUSTOMERS} THEN agent ELSE '' END AS agent, request_id, details
"""
"""For customers: where operators sit is not theirs to know."""


AUDIT_ORDERS = Orders(
    by={
        "at": By("at", datetime, backward=True),
        "actor": By("actor"),
        "action": By("action"),
        "resource": By("resource"),
    },
    key={"tenant_id": By("tenant_id"), "audit_id": By("audit_id", uuid.UUID)},
    default="-at",
)


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which lines; what is None does not matter. Written at ``since`` or later, before ``before``.

    ``resource`` is what the line's begins with.
    """

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    since: datetime | None = None
    before: datetime | None = None


async def audit_page(
    pool: Connections,
    wanted: AuditFilter,
    *,
    tenant_id: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Every line, or those about one tenant ('' for what concerns none)."""
    return await _page(pool, _ALL, wanted, tenant_id, Sorted(AUDIT_ORDERS, sort, limit, cursor))


async def own_audit_page(
    pool: Connections,
    wanted: AuditFilter,
    tenant_id: str,
    *,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """What a customer may read: its tenant's lines, without the addresses of those who are not its own."""
    return await _page(pool, _OWN, wanted, tenant_id, Sorted(AUDIT_ORDERS, sort, limit, cursor), without=("tenant_id",))


async def _page(
    pool: Connections,
    columns: str,
    wanted: AuditFilter,
    tenant_id: str | None,
    part: Sorted,
    *,
    without: Collection[str] = (),
) -> Page:
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("actor = {}", wanted.actor)
    where.add_given("action = {}", wanted.action)
    where.add_given("starts_with(resource, {})", wanted.resource)
    where.add_given("at >= {}", wanted.since)
    where.add_given("at < {}", wanted.before)
    part.begin(where)
    query = f"""
        SELECT {columns}, {part.position} FROM audit_log
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, lambda row: _line(row, without))


def _line(row: asyncpg.Record, without: Collection[str]) -> dict[str, Any]:
    shown = {name: value for name, value in item_of(row).items() if name not in without}
    return {**shown, "details": msgspec.json.decode(row["details"])}
