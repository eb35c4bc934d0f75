"""Users as administrators see them: made, given another password, disabled, enabled, listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.errors import NotFound
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.identity.user_pages import user_page

if TYPE_CHECKING:
    import uuid

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.principal import Role
    from pulse_postgres.paging import Page

_ADD = """
    INSERT INTO users (tenant_id, username, role, email, password_hash, created_by)
    SELECT $1, $2, $3, $4, $5, $6 WHERE $1 = '' OR EXISTS (SELECT FROM tenants WHERE tenant_id = $1)
    RETURNING user_id
"""
_REPLACE_HASH = """
    UPDATE users SET password_hash = $2, failed_logins = 0, updated_at = now()
    WHERE username = $1 RETURNING tenant_id, user_id
"""
_DISABLE = """
    UPDATE users SET disabled_at = COALESCE(disabled_at, now()), updated_at = now()
    WHERE username = $1 RETURNING tenant_id, user_id
"""
_ENABLE = """
    UPDATE users SET disabled_at = NULL, failed_logins = 0, updated_at = now()
    WHERE username = $1 RETURNING tenant_id, user_id
"""
_END_SESSIONS = "UPDATE sessions SET ended_at = now() WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL"


class Users:
    """``pool`` logs in as pulse_admin; ``actor`` names who did it, for the audit log."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def add(
        self, username: str, role: Role, password_hash: str, *, tenant_id: str | None, email: str = "", actor: str
    ) -> uuid.UUID:
        """Make a user; ``tenant_id`` is None for operators. Raises Conflict, or NotFound: there is no such tenant."""
        owner = tenant_id or ""
        async with acting(self._pool, exists=f"there is a user {username!r} already") as connection:
            user_id: uuid.UUID | None = await connection.fetchval(
                _ADD, owner, username, str(role), email, password_hash, actor
            )
            if user_id is None:
                raise NotFound(f"there is no tenant {owner!r}")
            details = {"role": str(role), "email": email}
            await audit(connection, actor, "user.create", tenant_id=owner, resource=username, details=details)
        return user_id

    async def set_password(self, username: str, password_hash: str, *, actor: str) -> None:
        """Replace a password; whoever is logged in with the old one is not any more. Raises NotFound."""
        async with acting(self._pool) as connection:
            await _change(connection, (_REPLACE_HASH, username, password_hash), "user.password", actor)

    async def disable(self, username: str, *, actor: str) -> None:
        """Let somebody in no more, and end their sessions. Again changes nothing. Raises NotFound."""
        async with acting(self._pool) as connection:
            await _change(connection, (_DISABLE, username), "user.disable", actor)

    async def enable(self, username: str, *, actor: str) -> None:
        """Let somebody in again, who has to log in anew. Raises NotFound."""
        async with acting(self._pool) as connection:
            await _change(connection, (_ENABLE, username), "user.enable", actor)

    async def page(self, **asked: Any) -> Page:
        """Users; see :func:`user_page`."""
        return await user_page(self._pool, **asked)

    async def missing(self, usernames: list[str]) -> set[str]:
        """Which of these names nobody has."""
        with asking():
            rows = await self._pool.fetch("SELECT username FROM users WHERE username = ANY($1)", usernames)
        return set(usernames) - {row[0] for row in rows}


async def _change(connection: PoolConnectionProxy[Any], update: tuple[str, ...], action: str, actor: str) -> None:
    """Change a user; no session of before survives that."""
    statement, username, *values = update
    user = await connection.fetchrow(statement, username, *values)
    if user is None:
        raise NotFound(f"there is no user {username!r}")
    await connection.execute(_END_SESSIONS, user["tenant_id"], user["user_id"])
    await audit(connection, actor, action, tenant_id=user["tenant_id"], resource=username)
