"""Logins of people's own tools (Grafana, a notebook): which there are, and of whom. Each reads one tenant, and no more.

The login itself is made by :mod:`pulse_postgres.reader_logins`: that takes rights that none of our processes has.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from pulse_core.errors import NotFound
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

_ADD = """
    INSERT INTO readers (tenant_id, name, login, active, created_by)
    SELECT tenant_id, $2, $3, status = 'ACTIVE', $4 FROM tenants WHERE tenant_id = $1 RETURNING login
"""
_LIST = """
    SELECT tenant_id, name, login::text, active, created_at, created_by FROM readers
    WHERE $1::text IS NULL OR tenant_id = $1 ORDER BY tenant_id, name
"""
_ONE = "SELECT login::text FROM readers WHERE tenant_id = $1 AND name = $2"
_REMOVE = "DELETE FROM readers WHERE tenant_id = $1 AND name = $2"


class Readers:
    """``pool`` logs in as pulse_admin; ``actor`` names who did it, for the audit log."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def add(self, tenant_id: str, name: str, make: Callable[[str], Awaitable[None]], *, actor: str) -> str:
        """Note a reader and have its login made; neither stays without the other. Return the login.

        Its name tells nobody whose it is: every login of a server can see the names of all others.

        :param make: makes a login of the name that it is given.
        :raises NotFound: there is no such tenant.
        :raises Conflict: it has a reader of that name.
        """
        login = f"reader_{name}_{secrets.token_hex(4)}"
        async with acting(self._pool, exists=f"{tenant_id} has a reader {name!r} already") as connection:
            if await connection.fetchval(_ADD, tenant_id, name, login, actor) is None:
                raise NotFound("there is no such tenant")
            resource = f"{tenant_id}/{name}"
            await audit(connection, actor, "reader.create", tenant_id=tenant_id, resource=resource)
            await make(login)
        return login

    async def all(self, tenant_id: str | None = None) -> list[dict[str, Any]]:
        """The readers, by tenant and name."""
        with asking():
            return [dict(row) for row in await self._pool.fetch(_LIST, tenant_id)]

    async def renewing(self, tenant_id: str, name: str, renew: Callable[[str], Awaitable[None]], *, actor: str) -> str:
        """Have a reader's login made anew or given another password, and note that. Return it. Raises NotFound."""
        async with acting(self._pool) as connection:
            login = await _login(connection, tenant_id, name)
            resource = f"{tenant_id}/{name}"
            await audit(connection, actor, "reader.password", tenant_id=tenant_id, resource=resource)
            await renew(login)
        return login

    async def remove(self, tenant_id: str, name: str, *, actor: str) -> None:
        """Forget a reader: from this moment its login reads nothing. Raises NotFound."""
        async with acting(self._pool) as connection:
            await _login(connection, tenant_id, name)
            await connection.execute(_REMOVE, tenant_id, name)
            resource = f"{tenant_id}/{name}"
            await audit(connection, actor, "reader.remove", tenant_id=tenant_id, resource=resource)


async def _login(connection: Any, tenant_id: str, name: str) -> str:
    login: str | None = await connection.fetchval(_ONE, tenant_id, name)
    if login is None:
        raise NotFound(f"{tenant_id} has no reader {name!r}")
    return login
