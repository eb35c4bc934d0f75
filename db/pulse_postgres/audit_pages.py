"""The audit log as people read it: the newest first, of one tenant or of all (pulse_operator)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of, page_of, read_cursor, within
from pulse_postgres.sqltime import us

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

_ALL = "audit_id, tenant_id, at, actor, action, resource, address, agent, request_id, details"
_OF_CUSTOMERS = "('pulse_web', 'pulse_auth')"
_OWN = f"""
    audit_id, at, actor, action, resource, CASE WHEN written_by IN {_OF_CUSTOMERS} THEN address ELSE '' END AS address,
    CASE WHEN written_by IN {_OF_CUSTOMERS} THEN agent ELSE '' END AS agent, request_id, details
"""
"""For customers: where operators sit is not theirs to know."""


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which lines; what is None does not matter. Written at ``since`` or later, before ``before``."""

    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    before: datetime | None = None


async def audit_page(
    pool: Connections,
    wanted: AuditFilter,
    *,
    tenant_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Every line, or those about one tenant ('' for what concerns none)."""
    return await _page(pool, _ALL, wanted, tenant_id, limit, cursor)


async def own_audit_page(
    pool: Connections, wanted: AuditFilter, tenant_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """What a customer may read: its tenant's lines, without the addresses of those who are not its own."""
    return await _page(pool, _OWN, wanted, tenant_id, limit, cursor)


async def _page(
    pool: Connections, columns: str, wanted: AuditFilter, tenant_id: str | None, limit: int, cursor: str | None
) -> Page:
    limit = within(limit)
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("actor = {}", wanted.actor)
    where.add_given("action = {}", wanted.action)
    where.add_given("at >= {}", wanted.since)
    where.add_given("at < {}", wanted.before)
    where.add_position(read_cursor(cursor, tuple[int, uuid.UUID]), "at", "audit_id")
    query = f"""
        SELECT {columns}, {us("at")} AS position FROM audit_log
        WHERE {where} ORDER BY at DESC, audit_id LIMIT {where.put(limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return page_of(rows, limit, _line, "position", "audit_id")


def _line(row: asyncpg.Record) -> dict[str, Any]:
    return {**item_of(row), "details": msgspec.json.decode(row["details"])}
