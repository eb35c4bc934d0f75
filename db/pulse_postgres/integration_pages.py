"""Lists of integrations and routes: of one tenant, or of all for operators. Never a secret."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.routes import COLUMNS, route_of
from pulse_postgres.sorting import KEY, By, Orders, Sorted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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
_ROUTES_LEFT = "SELECT route_id FROM integration_routes WHERE tenant_id = $1 AND route_id = ANY($2::uuid[])"
_TARGETS = f"""
    SELECT integration_id, name, type, enabled FROM integrations
    WHERE tenant_id = $1 AND {LIVE} AND ($2::uuid[] IS NULL OR integration_id = ANY($2::uuid[]))
    ORDER BY lower(name), integration_id LIMIT {{limit}}
"""
TARGETS_AT_MOST = 1000
"""Nobody chooses from a longer list."""

INTEGRATION_ORDERS = Orders(
    by={
        "integration_id": KEY,
        "name": By("name"),
        "type": By("type"),
        "enabled": By("enabled", bool),
        "created_at": By("created_at", datetime),
        "updated_at": By("updated_at", datetime),
    },
    key={"tenant_id": By("tenant_id"), "integration_id": By("integration_id", uuid.UUID)},
    default="integration_id",
)
ROUTE_ORDERS = Orders(
    by={
        "route_id": KEY,
        "priority": By("r.priority", int),
        "name": By("r.name"),
        "enabled": By("r.enabled", bool),
    },
    key={"tenant_id": By("r.tenant_id"), "route_id": By("r.route_id", uuid.UUID)},
    default="route_id",
)


def integration_of(row: asyncpg.Record) -> dict[str, Any]:
    """Make an item of a row of :data:`SHOWN`."""
    retry = row["retry"]
    return {
        **item_of(row),
        "config": msgspec.json.decode(row["config"]),
        "retry": None if retry is None else msgspec.json.decode(retry),
    }


async def integration_page(
    pool: Connections,
    *,
    tenant_id: str | None = None,
    type_: str | None = None,
    enabled: bool | None = None,
    search: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Integrations by tenant and id, unless ``sort`` is another of INTEGRATION_ORDERS; ``search``: in the name."""
    part = Sorted(INTEGRATION_ORDERS, sort, limit, cursor)
    where = Where()
    where.add(LIVE)
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("type = {}", type_)
    where.add_given("enabled = {}", enabled)
    where.add_given("strpos(lower(name), lower({}::text)) > 0", search)
    part.begin(where)
    query = f"""
        SELECT {SHOWN}, {part.position} FROM integrations
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, integration_of)


async def names_of(
    pool: Connections, tenant_id: str, integration_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, Any]]:
    """Which integrations those are or were (``deleted``), by id: what the ledger says of them."""
    with asking():
        rows = await pool.fetch(_NAMES, tenant_id, list(integration_ids))
    return {row["integration_id"]: dict(row) for row in rows}


async def routes_left(pool: Connections, tenant_id: str, route_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the routes that are still there."""
    with asking():
        rows = await pool.fetch(_ROUTES_LEFT, tenant_id, list(route_ids))
    return {row["route_id"] for row in rows}


async def targets(
    pool: Connections, tenant_id: str, only: Sequence[uuid.UUID] | None = None
) -> dict[uuid.UUID, dict[str, Any]]:
    """What routes can lead to, by id in the order of their names: ``name``, ``type``, ``enabled``.

    :param only: these; otherwise all, but at most :data:`TARGETS_AT_MOST`.
    """
    query = _TARGETS.format(limit=TARGETS_AT_MOST if only is None else max(1, len(only)))
    with asking():
        rows = await pool.fetch(query, tenant_id, None if only is None else list(only))
    return {row["integration_id"]: dict(row) for row in rows}


async def route_page(
    pool: Connections,
    *,
    tenant_id: str | None = None,
    integration_id: uuid.UUID | None = None,
    enabled: bool | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Routes by tenant and id, unless ``sort`` is another of ROUTE_ORDERS; severities are numbers.

    :param integration_id: those that lead to it, at first or as the fallback.
    """
    part = Sorted(ROUTE_ORDERS, sort, limit, cursor)
    where = Where()
    where.add_given("r.tenant_id = {}", tenant_id)
    if integration_id is not None:
        target = where.put(integration_id)
        where.add(f"(r.integration_id = {target} OR r.fallback_integration_id = {target})")
    where.add_given("r.enabled = {}", enabled)
    part.begin(where)
    query = f"""
        SELECT {COLUMNS}, {part.position} FROM integration_routes r
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, lambda row: shown_route(route_of(row)))


def shown_route(route: Route) -> dict[str, Any]:
    """Make an item of a route: its own fields, sets as sorted lists."""
    fields = msgspec.structs.asdict(route)
    del fields["integration_enabled"]
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in fields.items()}
