"""Users as they log in, and their sessions: see :mod:`pulse_core.identity`. Pools log in as pulse_auth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.identity import Account, Session
from pulse_core.principal import Role
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit

if TYPE_CHECKING:
    import uuid

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

_ACCOUNT = """
    u.user_id, u.username, u.role, u.tenant_id, u.email, u.password_hash, u.disabled_at IS NOT NULL,
    u.disabled_at IS NULL AND (u.tenant_id = '' OR t.status = 'ACTIVE') IS TRUE
"""
_USERS = "users u LEFT JOIN tenants t ON t.tenant_id = u.tenant_id"
_HOLDS = "s.ended_at IS NULL AND s.expires_at > now() AND s.renewed_at > now() - interval '12 hours'"

_FIND = f"SELECT {_ACCOUNT} FROM {_USERS} WHERE u.username = $1"
_BY_ID = f"SELECT {_ACCOUNT} FROM {_USERS} WHERE u.user_id = $1"
_FAILED = "UPDATE users SET failed_logins = failed_logins + 1, last_failed_at = now() WHERE username = $1"
_REHASH = "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2"
_REPLACE = """
    UPDATE users SET password_hash = $4, failed_logins = 0, updated_at = now()
    WHERE tenant_id = $1 AND user_id = $2 AND password_hash = $3 AND disabled_at IS NULL RETURNING true
"""
_END_OTHERS = """
    UPDATE sessions SET ended_at = now()
    WHERE tenant_id = $1 AND user_id = $2 AND session_id <> $3 AND ended_at IS NULL
"""
_LOGGED_IN = "UPDATE users SET failed_logins = 0, last_login_at = now() WHERE tenant_id = $1 AND user_id = $2"
_FORGET_OLD = f"DELETE FROM sessions s WHERE tenant_id = $1 AND user_id = $2 AND NOT ({_HOLDS})"
# Whoever changes the password meanwhile waits, and then finds this session to end; or was first, and we see it.
_LOCK = "SELECT FROM users WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE"
_BEGIN = """
    INSERT INTO sessions (tenant_id, user_id, expires_at) VALUES ($1, $2, now() + interval '7 days')
    RETURNING session_id
"""
_ADD = "INSERT INTO refresh_tokens (tenant_id, token_hash, session_id) VALUES ($1, $2, $3)"
# Two that show the same token wait for each other at this row; the second finds it used.
_USE = """
    UPDATE refresh_tokens SET used_at = now() WHERE token_hash = $1 AND used_at IS NULL RETURNING tenant_id, session_id
"""
_RENEWED = f"""
    UPDATE sessions s SET renewed_at = now() WHERE tenant_id = $1 AND session_id = $2 AND {_HOLDS} RETURNING s.user_id
"""
_END = """
    UPDATE sessions s SET ended_at = now() FROM refresh_tokens r
    WHERE r.token_hash = $1 AND s.tenant_id = r.tenant_id AND s.session_id = r.session_id AND s.ended_at IS NULL
    RETURNING s.tenant_id, s.session_id, s.user_id
"""
_HOLDING = f"""
    SELECT {_ACCOUNT} FROM sessions s JOIN users u ON u.tenant_id = s.tenant_id AND u.user_id = s.user_id
        LEFT JOIN tenants t ON t.tenant_id = s.tenant_id
    WHERE s.session_id = $1 AND {_HOLDS}
"""


def _account(row: asyncpg.Record) -> Account:
    user_id, username, role, tenant_id, email, password_hash, disabled, active = row
    return Account(user_id, username, Role(role), tenant_id or None, email, password_hash, disabled, active)


class PostgresUsers:
    """See :class:`pulse_core.identity.UserDirectory`."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def find(self, username: str) -> Account | None:
        """Who has this name."""
        with asking():
            row = await self._pool.fetchrow(_FIND, username)
        return None if row is None else _account(row)

    async def note_failure(self, username: str) -> None:
        """Count a wrong password."""
        with asking():
            await self._pool.execute(_FAILED, username)

    async def rehash(self, account: Account, password_hash: str) -> None:
        """Replace the hash of the same password."""
        with asking():
            await self._pool.execute(_REHASH, account.user_id, account.password_hash, password_hash)

    async def set_password(self, account: Account, password_hash: str, *, keeping: uuid.UUID) -> bool:
        """Replace the password; of the sessions, only ``keeping`` stays."""
        owner, user_id = account.tenant_id or "", account.user_id
        async with acting(self._pool) as connection:
            if not await connection.fetchval(_REPLACE, owner, user_id, account.password_hash, password_hash):
                return False
            await connection.execute(_END_OTHERS, owner, user_id, keeping)
            subject = account.principal.subject
            await audit(connection, subject, "user.password", tenant_id=owner, resource=account.username)
        return True


class PostgresSessions:
    """See :class:`pulse_core.identity.Sessions`."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def begin(self, account: Account, refresh_hash: bytes) -> Session | None:
        """A new session; the user's old ones that are over go."""
        owner, user_id = account.tenant_id or "", account.user_id
        async with acting(self._pool) as connection:
            await connection.execute(_LOCK, owner, user_id)
            now = await _active(connection, user_id)
            if now is None or now.password_hash != account.password_hash:
                return None
            await connection.execute(_LOGGED_IN, owner, user_id)
            await connection.execute(_FORGET_OLD, owner, user_id)
            session_id = await connection.fetchval(_BEGIN, owner, user_id)
            await connection.execute(_ADD, owner, refresh_hash, session_id)
            await audit(connection, account.principal.subject, "user.login", tenant_id=owner, resource=account.username)
        return Session(session_id, account)

    async def renew(self, refresh_hash: bytes, next_hash: bytes) -> Session | None:
        """Use a refresh token up; one that was used before ends its session."""
        async with acting(self._pool) as connection:
            used = await connection.fetchrow(_USE, refresh_hash)
            if used is None:
                await _end(connection, refresh_hash, "session.reuse")
                return None
            tenant_id, session_id = used
            user_id = await connection.fetchval(_RENEWED, tenant_id, session_id)
            account = await _active(connection, user_id) if user_id else None
            if account is None:
                return None
            await connection.execute(_ADD, tenant_id, next_hash, session_id)
        return Session(session_id, account)

    async def end(self, refresh_hash: bytes) -> None:
        """End the session of a refresh token."""
        async with acting(self._pool) as connection:
            await _end(connection, refresh_hash, "user.logout")

    async def holding(self, session_id: uuid.UUID) -> Account | None:
        """Whose session this is, if it still holds."""
        with asking():
            row = await self._pool.fetchrow(_HOLDING, session_id)
        account = None if row is None else _account(row)
        return account if account is not None and account.active else None


async def _active(connection: PoolConnectionProxy[Any], user_id: uuid.UUID) -> Account | None:
    row = await connection.fetchrow(_BY_ID, user_id)
    account = None if row is None else _account(row)
    return account if account is not None and account.active else None


async def _end(connection: PoolConnectionProxy[Any], refresh_hash: bytes, action: str) -> None:
    ended = await connection.fetchrow(_END, refresh_hash)
    if ended is None:
        return
    account = await connection.fetchrow(_BY_ID, ended["user_id"])
    name = account["username"] if account else ""
    resource = f"{name}/{ended['session_id']}"
    await audit(connection, f"user:{name}", action, tenant_id=ended["tenant_id"], resource=resource)
