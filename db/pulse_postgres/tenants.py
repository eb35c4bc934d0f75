"""Tenants as operators change them: renamed, suspended, removed with all that is theirs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pulse_core.errors import Conflict, NotFound
from pulse_core.telemetry_store import asking as asking_store
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.revisions import demand_revision
from pulse_postgres.sorting import KEY, By, Orders, Sorted
from pulse_postgres.telemetry.days import days_kept, forget_day

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.api import TelemetryStore
    from pulse_postgres.connections import Connections

SETTLED_S = 10
"""A tenant is removed so long after it was suspended: what its devices had sent before that is decided by then."""

_COLUMNS = "tenant_id, name, status, stale_after_s, stale_on_disconnect, suspended_at, revision, created_at"
_ONE = f"SELECT {_COLUMNS} FROM tenants WHERE tenant_id = $1"
_LOCKED = f"{_ONE} FOR UPDATE"
_CHANGE = f"""
    UPDATE tenants SET name = $2, stale_after_s = $3, stale_on_disconnect = $4, status = $5,
        suspended_at = CASE WHEN $5 = 'SUSPENDED' THEN COALESCE(suspended_at, now()) END
    WHERE tenant_id = $1 RETURNING {_COLUMNS}
"""
_CHANGEABLE = ("name", "stale_after_s", "stale_on_disconnect", "status")

# The rest refers to the tenant, its devices, integrations or users, and goes with them.
_REMOVE = (
    "DELETE FROM tenants WHERE tenant_id = $1",
    "DELETE FROM api_tokens WHERE tenant_id = $1",
    "DELETE FROM users WHERE tenant_id = $1",
    "DELETE FROM request_keys WHERE tenant_id = $1",
    "DELETE FROM browser_sessions WHERE tenant_id = $1",
    "DELETE FROM quarantine WHERE tenant_id = $1",
    "DELETE FROM quarantine_counts WHERE tenant_id = $1",
    "DELETE FROM accepted_counts WHERE tenant_id = $1",
    # Whoever makes roll-ups has the marks: those are waited for, and then no roll-up is missed.
    "DELETE FROM telemetry_marks WHERE tenant_id = $1",
    "DELETE FROM telemetry_hours WHERE tenant_id = $1",
)
_REMOVE_WITHIN_S = 600


_SHOWN = "tenant_id, name, status, stale_after_s, stale_on_disconnect, revision, created_at"
TENANT_ORDERS = Orders(
    by={"tenant_id": KEY, "name": By("name"), "status": By("status"), "created_at": By("created_at", dt.datetime)},
    key={"tenant_id": By("tenant_id")},
    default="tenant_id",
)


async def tenant_page(
    pool: Connections,
    *,
    status: str | None = None,
    search: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Tenants by id, unless ``sort`` is another of TENANT_ORDERS; ``search`` stands in the id or the name."""
    part = Sorted(TENANT_ORDERS, sort, limit, cursor)
    where = Where()
    where.add_given("status = {}", status)
    where.add_given("strpos(lower(tenant_id || ' ' || name), lower({}::text)) > 0", search)
    part.begin(where)
    query = f"""
        SELECT {_SHOWN}, {part.position} FROM tenants
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, item_of)


class Tenants:
    """``pool`` logs in as pulse_admin; ``actor`` names who did it, for the audit log.

    :param telemetry: a store beside this database, which has readings and room of each tenant, too.
    """

    def __init__(self, pool: asyncpg.Pool[Any], telemetry: TelemetryStore | None = None) -> None:
        self._pool = pool
        self._beside = None if telemetry is None or telemetry.transactional else telemetry

    async def get(self, tenant_id: str) -> dict[str, Any]:
        """One tenant. Raises NotFound."""
        with asking():
            return dict(_found(await self._pool.fetchrow(_ONE, tenant_id)))

    async def change(
        self, tenant_id: str, changes: Mapping[str, Any], *, actor: str, only_if: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Change what is ``_CHANGEABLE``; return the tenant. Raises NotFound, Stale.

        A tenant that is SUSPENDED has no valid token: neither its devices' nor its programs'. Whoever holds a live
        connection of a device hears of it at commit, and ends it. One that is let in again has room for readings, also
        if its removal was begun.
        """
        async with acting(self._pool) as connection:
            before = _found(await connection.fetchrow(_LOCKED, tenant_id))
            demand_revision(before["revision"], only_if)
            after = {name: changes.get(name, before[name]) for name in _CHANGEABLE}
            row = await connection.fetchrow(_CHANGE, tenant_id, *after.values())
            details = {
                name: {"old": before[name], "new": value} for name, value in after.items() if value != before[name]
            }
            await audit(connection, actor, "tenant.change", tenant_id=tenant_id, resource=tenant_id, details=details)
            if self._beside is not None and details.get("status", {}).get("new") == "ACTIVE":
                with asking_store(self._beside):
                    await self._beside.open_tenant(tenant_id)
        return dict(_found(row))

    async def remove(
        self,
        tenant_id: str,
        *,
        actor: str,
        only_if: Collection[str] | None = None,
        told: Callable[[int, int, int], None] = lambda *_: None,
    ) -> int:
        """Remove a suspended tenant and all its data; return how many readings went. The audit log keeps its lines.

        Readings go first: those of a store beside this database all at once, ours day by day, each day in a transaction
        of its own. If it is interrupted, or that store is away, the tenant is still there: call it again.

        :param told: hears how far it is: days done, days in all, readings that are gone.
        :raises NotFound: there is no such tenant.
        :raises Conflict: it is not suspended, or was so only just now.
        :raises Stale: it is none of the revisions ``only_if``.
        :raises ReadingsAway: the store beside this database does not answer.
        """
        readings, days = 0, await self._days(tenant_id, only_if)
        if self._beside is not None:
            with asking_store(self._beside):
                readings += await self._beside.forget_tenant(tenant_id)
        for done, day in enumerate(days):
            told(done, len(days), readings)
            readings += await forget_day(self._pool, day, tenant_id)
        told(len(days), len(days), readings)
        async with acting(self._pool) as connection:
            await _demand_settled(connection, tenant_id, only_if)
            for statement in _REMOVE:
                await connection.execute(statement, tenant_id, timeout=_REMOVE_WITHIN_S)
            details = {"readings": readings}
            await audit(connection, actor, "tenant.remove", tenant_id=tenant_id, resource=tenant_id, details=details)
        return readings

    async def _days(self, tenant_id: str, only_if: Collection[str] | None) -> list[dt.date]:
        """The days of telemetry, once it is certain that the tenant may go."""
        async with acting(self._pool) as connection:
            await _demand_settled(connection, tenant_id, only_if)
            return await days_kept(connection)


def _found(row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound("there is no such tenant")
    return row


async def _demand_settled(
    connection: PoolConnectionProxy[Any], tenant_id: str, only_if: Collection[str] | None
) -> None:
    tenant = _found(await connection.fetchrow(_LOCKED, tenant_id))
    demand_revision(tenant["revision"], only_if)
    if tenant["status"] != "SUSPENDED":
        raise Conflict("suspend the tenant first: its devices must have stopped")
    since = tenant["suspended_at"]
    if since is None or dt.datetime.now(dt.UTC) - since < dt.timedelta(seconds=SETTLED_S):
        raise Conflict(f"it was suspended only just now: try again in {SETTLED_S} s")
