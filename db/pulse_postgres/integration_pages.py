"""Lists of integrations and routes: of one tenant, or of all for operators. Never a secret."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, page_of, read_cursor, within
from pulse_postgres.routes import COLUMNS, route_of

if TYPE_CHECKING:
    import asyncpg

    from pulse_core.records import Route

SHOWN = """
    tenant_id, integration_id, type, name, enabled, disabled_reason, config, has_secrets,
    created_at, updated_at
"""
"""What of ``integrations`` may be shown; :func:`integration_of` reads it."""

_Position = tuple[str, uuid.UUID]


def integration_of(row: asyncpg.Record) -> dict[str, Any]:
    """Make an item of a row of :data:`SHOWN`."""
    return {**row, "config": msgspec.json.decode(row["config"])}


async def integration_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    type_: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Integrations by tenant and id."""
    limit = within(limit)
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("type = {}", type_)
    if after := read_cursor(cursor, _Position):
        where.add("(tenant_id, integration_id) > ({}, {})", *after)
    order = f"ORDER BY tenant_id, integration_id LIMIT {where.put(limit + 1)}"
    with asking():
        rows = await pool.fetch(f"SELECT {SHOWN} FROM integrations WHERE {where} {order}", *where.arguments)
    return page_of(rows, limit, integration_of, "tenant_id", "integration_id")


async def route_page(
    pool: asyncpg.Pool[Any], *, tenant_id: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page:
    """Routes by tenant and id; severities are numbers."""
    limit = within(limit)
    where = Where()
    where.add_given("r.tenant_id = {}", tenant_id)
    if after := read_cursor(cursor, _Position):
        where.add("(r.tenant_id, r.route_id) > ({}, {})", *after)
    order = f"ORDER BY r.tenant_id, r.route_id LIMIT {where.put(limit + 1)}"
    with asking():
        rows = await pool.fetch(f"SELECT {COLUMNS} FROM integration_routes r WHERE {where} {order}", *where.arguments)
    return page_of(rows, limit, lambda row: shown_route(route_of(row)), "tenant_id", "route_id")


def shown_route(route: Route) -> dict[str, Any]:
    """Make an item of a route: its own fields, sets as sorted lists."""
    fields = msgspec.structs.asdict(route)
    del fields["integration_enabled"]
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in fields.items()}
