"""Routes of all tenants, as the pipeline matches them (role pulse_pipeline)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.records import Route
from pulse_postgres.pool import listen, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

CHANNEL = "pulse_routes"

COLUMNS = """
    r.tenant_id, r.route_id, r.integration_id, r.name, r.alert_types, r.severities, r.min_severity, r.site_ids,
    r.device_prefixes, r.deliver_on, r.priority, r.enabled, r.fallback_integration_id, r.fallback_after_s,
    r.revision
"""
"""Of ``integration_routes r``, in the order of :class:`Route`'s fields that :func:`route_of` reads."""

_ALL = f"""
    SELECT {COLUMNS}, i.enabled FROM integration_routes r JOIN integrations i USING (tenant_id, integration_id)
"""
_LOAD = f"{_ALL} ORDER BY r.tenant_id, r.priority, r.route_id"
TENANTS_ROUTES = f"{_ALL} WHERE r.tenant_id = $1"
"""What decides about one tenant's alert; :func:`loaded_route` reads it."""


class PostgresRoutes:
    """See :class:`pulse_core.ports.RouteStore`."""

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    async def load(self) -> list[Route]:
        """Every route, by tenant and priority."""
        with unavailable():
            rows = await self._pool.fetch(_LOAD)
        return [loaded_route(row) for row in rows]

    async def changes(self) -> AsyncIterator[None]:
        """Yields at once, and whenever a route or an integration may have changed."""
        async for _ in listen(self._dsn, CHANNEL):
            yield


def route_of(row: asyncpg.Record) -> Route:
    """Make a route of a row that begins with :data:`COLUMNS`."""
    return Route(
        tenant_id=row[0],
        route_id=row[1],
        integration_id=row[2],
        name=row[3],
        alert_types=frozenset(row[4]),
        severities=frozenset(row[5]),
        min_severity=row[6],
        site_ids=frozenset(row[7]),
        device_prefixes=tuple(row[8]),
        deliver_on=frozenset(row[9]),
        priority=row[10],
        enabled=row[11],
        fallback_integration_id=row[12],
        fallback_after_s=row[13],
        revision=row[14],
    )


def loaded_route(row: asyncpg.Record) -> Route:
    """Make a route that knows whether its integration is enabled."""
    return msgspec.structs.replace(route_of(row), integration_enabled=row[-1])
