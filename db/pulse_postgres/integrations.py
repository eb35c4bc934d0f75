"""Integrations (configured channels) of tenants, and the routes that lead to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pulse_core.errors import NotFound
from pulse_core.outbox import StoredIntegration
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.delivery.record import TOPIC
from pulse_postgres.integration_pages import LIVE, SHOWN, integration_of, integration_page, route_page
from pulse_postgres.revisions import demand_revision
from pulse_postgres.routes import COLUMNS, route_of
from pulse_postgres.sqltime import us

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.records import Route
    from pulse_postgres.connections import Connections
    from pulse_postgres.paging import Page

_CREATE = f"""
    INSERT INTO integrations (tenant_id, integration_id, type, name, enabled, config, secrets, retry)
    VALUES ($1, gen_random_uuid(), $2, $3, $4, $5::jsonb, $6, $7::jsonb) RETURNING {SHOWN}
"""
_UPDATE = f"""
    UPDATE integrations SET name = COALESCE($3, name), enabled = COALESCE($4, enabled),
        disabled_reason = CASE WHEN $4 THEN NULL ELSE disabled_reason END, config = COALESCE($5::jsonb, config),
        secrets = CASE WHEN $5::jsonb IS NULL THEN secrets ELSE $6 END,
        retry = CASE WHEN $7 THEN $8::jsonb ELSE retry END, updated_at = clock_timestamp()
    WHERE tenant_id = $1 AND integration_id = $2 AND {LIVE} RETURNING {SHOWN}
"""
_STORED = f"""
    SELECT tenant_id, integration_id, type, config, secrets, enabled, disabled_reason, {us("updated_at")}
    FROM integrations WHERE tenant_id = $1 AND integration_id = $2 AND {LIVE}
"""
_LOCK = f"""
    SELECT revision FROM integrations WHERE tenant_id = $1 AND integration_id = $2 AND {LIVE} FOR UPDATE
"""
# The row stays, with its type and name, for the sake of what was sent through it.
_DELETE = f"""
    UPDATE integrations SET deleted_at = clock_timestamp(), enabled = false, secrets = NULL, config = '{{}}',
        updated_at = clock_timestamp()
    WHERE tenant_id = $1 AND integration_id = $2 AND {LIVE} RETURNING true
"""
_DELETE_ROUTES_TO = "DELETE FROM integration_routes WHERE tenant_id = $1 AND integration_id = $2"
_FORGET_FALLBACK = """
    UPDATE integration_routes SET fallback_integration_id = NULL, updated_at = clock_timestamp()
    WHERE tenant_id = $1 AND fallback_integration_id = $2
"""
_CANCEL_WAITING = """
    UPDATE deliveries SET status = 'CANCELLED', finished_at = clock_timestamp(),
        last_error = 'the integration was deleted'
    WHERE tenant_id = $1 AND integration_id = $2 AND status IN ('PENDING', 'RETRYING')
"""
# FOR SHARE: nobody deletes it before the route that leads to it is there to be deleted, too.
_LIVE_ONES = f"""
    SELECT integration_id FROM integrations WHERE tenant_id = $1 AND integration_id = ANY($2::uuid[]) AND {LIVE}
    ORDER BY integration_id FOR SHARE
"""

_VALUES = "$1, $2, $3, $4, $5::text[], $6::smallint[], $7, $8::text[], $9::text[], $10::text[], $11, $12, $13, $14"
_CREATE_ROUTE = f"""
    INSERT INTO integration_routes (tenant_id, route_id, integration_id, name, alert_types, severities, min_severity,
                                    site_ids, device_prefixes, deliver_on, priority, enabled, fallback_integration_id,
                                    fallback_after_s)
    VALUES ({_VALUES})
"""
_UPDATE_ROUTE = f"""
    UPDATE integration_routes SET (integration_id, name, alert_types, severities, min_severity, site_ids,
                                   device_prefixes, deliver_on, priority, enabled, fallback_integration_id,
                                   fallback_after_s, updated_at)
        = ({_VALUES.removeprefix("$1, $2, ")}, clock_timestamp())
    WHERE tenant_id = $1 AND route_id = $2 AND revision = $15 RETURNING revision
"""
_ROUTE = f"SELECT {COLUMNS} FROM integration_routes r WHERE r.tenant_id = $1 AND r.route_id = $2"
_DELETE_ROUTE = "DELETE FROM integration_routes WHERE tenant_id = $1 AND route_id = $2 RETURNING revision"


class Changes(Struct, frozen=True):
    """What to change of an integration; parameters as of :meth:`Integrations.update`."""

    name: str | None = None
    enabled: bool | None = None
    config: dict[str, Any] | None = None
    secrets: bytes | None = None
    retry: dict[str, Any] | UnsetType | None = UNSET


class Integrations:
    """Every call names its tenant, and what is another tenant's does not exist.

    ``pool`` logs in as pulse_admin, or is a customer's own :class:`~pulse_postgres.connections.TenantPool`. An
    integration is a dict without its secrets (``has_secrets`` says whether there are any); the encrypted secrets come
    out of :meth:`stored` only.
    """

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def create(
        self,
        tenant_id: str,
        type_: str,
        name: str,
        config: dict[str, Any],
        secrets: bytes | None,
        *,
        actor: str,
        enabled: bool = True,
        retry: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make an integration of channel type ``type_`` and return it.

        :param config: what may be shown of the channel's configuration, ready for JSON.
        :param secrets: the rest, encrypted already.
        :param retry: its own retry schedule (fields of a ``Schedule``); None: the contract's.
        :raises NotFound: there is no such tenant.
        """
        async with acting(self._pool, missing=f"there is no tenant {tenant_id!r}") as connection:
            row = await connection.fetchrow(
                _CREATE, tenant_id, type_, name, enabled, _json(config), secrets, _json(retry)
            )
            made = integration_of(_found(row, "integration"))
            await _note(connection, actor, "integration.create", tenant_id, made["integration_id"])
        return made

    async def page(self, tenant_id: str, **asked: Any) -> Page:
        """The tenant's integrations; see :func:`pulse_postgres.integration_pages.integration_page`."""
        return await integration_page(self._pool, tenant_id=tenant_id, **asked)

    async def get(self, tenant_id: str, integration_id: uuid.UUID) -> dict[str, Any]:
        """One integration. Raises NotFound."""
        with asking():
            row = await self._pool.fetchrow(
                f"SELECT {SHOWN} FROM integrations WHERE tenant_id = $1 AND integration_id = $2 AND {LIVE}",
                tenant_id,
                integration_id,
            )
        return integration_of(_found(row, "integration"))

    async def stored(self, tenant_id: str, integration_id: uuid.UUID) -> StoredIntegration:
        """One integration with its encrypted secrets, to use or to merge. Raises NotFound."""
        with asking():
            return _stored(_found(await self._pool.fetchrow(_STORED, tenant_id, integration_id), "integration"))

    async def update(
        self,
        tenant_id: str,
        integration_id: uuid.UUID,
        *,
        actor: str,
        name: str | None = None,
        enabled: bool | None = None,
        config: dict[str, Any] | None = None,
        secrets: bytes | None = None,
        retry: dict[str, Any] | UnsetType | None = UNSET,
    ) -> dict[str, Any]:
        """Change what is given and return the whole. ``secrets`` goes with ``config``: both are replaced, or none.

        ``retry`` may be given as None: the contract's schedule. Enabling clears the reason for which it was disabled;
        the engine hears that it may work now. Raises NotFound.
        """
        changes = Changes(name, enabled, config, secrets, retry)
        return await self.change(tenant_id, integration_id, lambda _: changes, actor=actor)

    async def change(
        self,
        tenant_id: str,
        integration_id: uuid.UUID,
        decide: Callable[[StoredIntegration], Changes],
        *,
        actor: str,
        only_if: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """As :meth:`update`, of what ``decide`` makes of the integration as it is: nobody else changes it meanwhile.

        :param only_if: see :func:`~pulse_postgres.revisions.demand_revision`.
        :raises NotFound: there is no such integration.
        :raises Stale: it is none of those revisions. What ``decide`` raises comes out as it is, and nothing is changed.
        """
        async with acting(self._pool) as connection:
            revision = _found(await connection.fetchrow(_LOCK, tenant_id, integration_id), "integration")["revision"]
            demand_revision(revision, only_if)
            stored = await connection.fetchrow(_STORED, tenant_id, integration_id)
            made = decide(_stored(_found(stored, "integration")))
            own = None if made.retry is UNSET else made.retry
            row = await connection.fetchrow(
                _UPDATE,
                tenant_id,
                integration_id,
                made.name,
                made.enabled,
                _json(made.config),
                made.secrets,
                made.retry is not UNSET,
                _json(own),
            )
            changed = integration_of(_found(row, "integration"))
            await _tell_engine(connection, tenant_id, integration_id)
            await _note(connection, actor, "integration.update", tenant_id, integration_id)
        return changed

    async def delete(
        self, tenant_id: str, integration_id: uuid.UUID, *, actor: str, only_if: Collection[str] | None = None
    ) -> None:
        """Remove an integration with its routes, and cancel what waits for it. Raises NotFound, Stale.

        What was sent through it stays in the ledger.
        """
        async with acting(self._pool) as connection:
            locked = await connection.fetchrow(_LOCK, tenant_id, integration_id)
            demand_revision(_found(locked, "integration")["revision"], only_if)
            _found(await connection.fetchrow(_DELETE, tenant_id, integration_id), "integration")
            for statement in (_DELETE_ROUTES_TO, _FORGET_FALLBACK, _CANCEL_WAITING):
                await connection.execute(statement, tenant_id, integration_id)
            await _tell_engine(connection, tenant_id, integration_id)
            await _note(connection, actor, "integration.delete", tenant_id, integration_id)

    async def create_route(self, route: Route, *, actor: str) -> Route:
        """Keep a new route.

        :raises NotFound: the tenant has no such integration, or none such to fall back to.
        :raises Conflict: there is a route of that id already.
        """
        async with acting(self._pool, missing="there is no such integration") as connection:
            await _demand_live(connection, route)
            await connection.execute(_CREATE_ROUTE, *_values(route))
            await _note(connection, actor, "route.create", route.tenant_id, route.route_id)
        return route

    async def route_page(self, tenant_id: str, **asked: Any) -> Page:
        """The tenant's routes; see :func:`pulse_postgres.integration_pages.route_page`."""
        return await route_page(self._pool, tenant_id=tenant_id, **asked)

    async def get_route(self, tenant_id: str, route_id: uuid.UUID) -> Route:
        """One route. Raises NotFound."""
        with asking():
            return route_of(_found(await self._pool.fetchrow(_ROUTE, tenant_id, route_id), "route"))

    async def update_route(self, route: Route, *, actor: str) -> Route:
        """Replace the route of that tenant and id. Raises NotFound, for the integration too."""
        return await self.change_route(route.tenant_id, route.route_id, lambda _: route, actor=actor)

    async def change_route(
        self,
        tenant_id: str,
        route_id: uuid.UUID,
        decide: Callable[[Route], Route],
        *,
        actor: str,
        only_if: Collection[str] | None = None,
    ) -> Route:
        """Replace a route by what ``decide`` makes of it; it is asked again when somebody changed the route meanwhile.

        :param only_if: see :func:`~pulse_postgres.revisions.demand_revision`.
        :raises NotFound: there is no such route, or integration.
        :raises Stale: it is none of those revisions.
        """
        async with acting(self._pool, missing="there is no such integration") as connection:
            revision = None
            while revision is None:
                found = route_of(_found(await connection.fetchrow(_ROUTE, tenant_id, route_id), "route"))
                demand_revision(found.revision, only_if)
                wanted = decide(found)
                # The integrations first, then the route: as whoever deletes an integration does.
                await _demand_live(connection, wanted)
                revision = await connection.fetchval(_UPDATE_ROUTE, *_values(wanted), found.revision)
            await _note(connection, actor, "route.update", tenant_id, route_id)
        return msgspec.structs.replace(wanted, revision=revision)

    async def delete_route(
        self, tenant_id: str, route_id: uuid.UUID, *, actor: str, only_if: Collection[str] | None = None
    ) -> None:
        """Remove a route. Raises NotFound, Stale."""
        async with acting(self._pool) as connection:
            gone = _found(await connection.fetchrow(_DELETE_ROUTE, tenant_id, route_id), "route")
            demand_revision(gone["revision"], only_if)
            await _note(connection, actor, "route.delete", tenant_id, route_id)


def _stored(row: asyncpg.Record) -> StoredIntegration:
    return StoredIntegration(row[0], row[1], row[2], msgspec.json.decode(row[3]), *row[4:])


def _found(row: asyncpg.Record | None, what: str) -> asyncpg.Record:
    if row is None:
        raise NotFound(f"there is no such {what}")
    return row


def _values(route: Route) -> tuple[Any, ...]:
    return (
        route.tenant_id,
        route.route_id,
        route.integration_id,
        route.name,
        sorted(route.alert_types),
        sorted(route.severities),
        route.min_severity,
        sorted(route.site_ids),
        list(route.device_prefixes),
        sorted(route.deliver_on),
        route.priority,
        route.enabled,
        route.fallback_integration_id,
        route.fallback_after_s,
    )


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


async def _demand_live(connection: PoolConnectionProxy[Any], route: Route) -> None:
    wanted = {route.integration_id} | ({route.fallback_integration_id} - {None})
    found = {row[0] for row in await connection.fetch(_LIVE_ONES, route.tenant_id, list(wanted))}
    if route.integration_id not in found:
        raise NotFound("there is no such integration")
    if wanted - found:
        raise NotFound("there is no such integration to fall back to")


async def _tell_engine(connection: PoolConnectionProxy[Any], tenant_id: str, integration_id: uuid.UUID) -> None:
    """What the engine knows of this integration (that its breaker is open, say) is not so any more."""
    await connection.execute("SELECT pg_notify($1, $2)", TOPIC, f"{tenant_id}/{integration_id}")


async def _note(
    connection: PoolConnectionProxy[Any], actor: str, action: str, tenant_id: str, object_id: uuid.UUID
) -> None:
    await audit(connection, actor, action, tenant_id=tenant_id, resource=f"{tenant_id}/{object_id}")
