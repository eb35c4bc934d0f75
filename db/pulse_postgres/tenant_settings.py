"""What a tenant's own admins choose for it: when its devices are STALE. The rest of a tenant is its operators'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.errors import NotFound
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.revisions import demand_revision

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import asyncpg

    from pulse_postgres.connections import TenantPool

# As text between them, a real is the number that was given: 0.7, not 0.699999988079071.
_COLUMNS = "stale_after_s::text::float8 AS stale_after_s, stale_on_disconnect, revision"
_ONE = f"SELECT {_COLUMNS} FROM tenants WHERE tenant_id = $1"
_LOCKED = f"{_ONE} FOR UPDATE"
_CHANGE = f"""
    UPDATE tenants SET stale_after_s = $2, stale_on_disconnect = $3 WHERE tenant_id = $1 RETURNING {_COLUMNS}
"""
_CHANGEABLE = ("stale_after_s", "stale_on_disconnect")


class TenantSettings:
    """``pool`` is the tenant's own."""

    def __init__(self, pool: TenantPool) -> None:
        self._pool = pool

    async def get(self, tenant_id: str) -> dict[str, Any]:
        """``stale_after_s`` (None: what the platform says), ``stale_on_disconnect``, ``revision``. Raises NotFound."""
        with asking():
            return dict(_found(await self._pool.fetchrow(_ONE, tenant_id)))

    async def change(
        self, tenant_id: str, changes: Mapping[str, Any], *, actor: str, only_if: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Change what is ``_CHANGEABLE``; return all of it. Whoever judges the tenant's devices hears of it at commit.

        :raises NotFound: there is no such tenant.
        :raises Stale: it is none of the revisions ``only_if``.
        """
        async with acting(self._pool) as connection:
            row = _found(await connection.fetchrow(_LOCKED, tenant_id))
            demand_revision(row["revision"], only_if)
            after = {name: changes.get(name, row[name]) for name in _CHANGEABLE}
            details = {name: {"old": row[name], "new": value} for name, value in after.items() if value != row[name]}
            if details:
                row = _found(await connection.fetchrow(_CHANGE, tenant_id, *after.values()))
            await audit(connection, actor, "tenant.change", tenant_id=tenant_id, resource=tenant_id, details=details)
        return dict(row)


def _found(row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound("there is no such tenant")
    return row
