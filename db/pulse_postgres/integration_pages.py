"""Lists of integrations and routes: of one tenant, or of all for operators. Never a secret."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, page_of, read_cursor, within
from pulse_postgres.routes import COLUMNS, route_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from pulse_core.records import Route
    from pulse_postgres.connections import Connections

SHOWN = """
    tenant_id, integration_id, type, name, enabled, disabled_reason, config, has_secrets, retry,
    revision, created_at, updated_at
"""
"""What of ``integrations`` may be shown; :func:`integration_of` reads it."""

LIVE = "deleted_at IS NULL"
"""A deleted integration stays for the ledger alone."""

_NAMES = """
    SELECT integration_id, name, type, deleted_at IS NOT NULL AS deleted FROM integrations
    WHERE tenant_id = $1 AND integration_id = ANY($2::uuid[])
"""
_Position = tuple[str, uuid.UUID]


def integration_of(row: asyncpg.Record) -> dict[str, Any]:
    """Make an item of a row of :data:`SHOWN`."""
    retry = row["retry"]
    return {
        **row,
        "config": msgspec.json.decode(row["config"]),
        "retry": None if retry is None else msgspec.json.decode(retry),
    }


async def integration_page(
    pool: Connections,
    *,
    tenant_id: str | None = None,
    type_: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Integrations by tenant and id."""
    limit = within(limit)
    where = Where()
    where.add(LIVE)
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("type = {}", type_)
    if after := read_cursor(cursor, _Position):
        where.add("(tenant_id, integration_id) > ({}, {})", *after)
    order = f"ORDER BY tenant_id, integration_id LIMIT {where.put(limit + 1)}"
    with asking():
        rows = await pool.fetch(f"SELECT {SHOWN} FROM integrations WHERE {where} {order}", *where.arguments)
    return page_of(rows, limit, integration_of, "tenant_id", "integration_id")


async def names_of(
    pool: Connections, tenant_id: str, integration_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, Any]]:
    """Which integrations those are or were (``deleted``), by id: what the ledger says of them."""
    with asking():
        rows = await pool.fetch(_NAMES, tenant_id, list(integration_ids))
    return {row["integration_id"]: dict(row) for row in rows}


async def route_page(
    pool: Connections, *, tenant_id: str | None = None, limit: int = 50, cursor: str | None = None
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
