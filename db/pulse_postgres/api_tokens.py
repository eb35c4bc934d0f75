"""API tokens: how a program proves who it is. 256 random bits, shown once, kept as their hash."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_core.principal import Principal, Role
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.paging import Page, Where, page_of, read_cursor, within
from pulse_postgres.tokens import hash_token, new_token

if TYPE_CHECKING:
    import asyncpg

PREFIX = "pulse_"
"""By this a token is known for what it is, in a log or a leak."""

_LOOKS_LIKE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_SHOWN = "tenant_id, token_id, name, role, created_at, created_by, expires_at, last_used_at, revoked_at"

_CREATE = """
    INSERT INTO api_tokens (tenant_id, name, role, token_hash, created_by, expires_at)
    SELECT $1, $2, $3, $4, $5, now() + $6::interval
    WHERE $1 = '' OR EXISTS (SELECT FROM tenants WHERE tenant_id = $1)
    RETURNING token_id, expires_at
"""
_REVOKE = """
    UPDATE api_tokens SET revoked_at = COALESCE(revoked_at, now()) WHERE token_id = $1 RETURNING tenant_id, name
"""
_FIND = """
    SELECT a.tenant_id, a.token_id, a.name, a.role,
           a.last_used_at IS NULL OR a.last_used_at < now() - interval '1 minute' AS note
    FROM api_tokens a LEFT JOIN tenants t ON t.tenant_id = a.tenant_id
    WHERE a.token_hash = $1 AND a.revoked_at IS NULL AND a.expires_at > now()
      AND (a.tenant_id = '' OR t.status = 'ACTIVE')
"""
# SKIP LOCKED: somebody else is noting the same just now, and nobody needs to wait for that.
_USED = """
    UPDATE api_tokens SET last_used_at = now() WHERE (tenant_id, token_id) IN (
        SELECT tenant_id, token_id FROM api_tokens WHERE tenant_id = $1 AND token_id = $2 FOR UPDATE SKIP LOCKED)
"""


def looks_like_token(text: str) -> bool:
    """Whether this has the form of an API token."""
    return _LOOKS_LIKE.fullmatch(text) is not None


class Minted(Struct, frozen=True):
    """A new token, shown this once."""

    token_id: uuid.UUID
    token: str
    expires_at: datetime


class ApiTokens:
    """What administrators do with tokens. ``pool`` logs in as pulse_admin."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def create(self, name: str, role: Role, *, tenant_id: str | None, days: int, actor: str) -> Minted:
        """Make a token for ``days``; ``tenant_id`` is None for operators. Raises NotFound: there is no such tenant."""
        token = PREFIX + new_token()
        owner = tenant_id or ""
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(
                _CREATE, owner, name, str(role), hash_token(token), actor, timedelta(days=days)
            )
            if row is None:
                raise NotFound(f"there is no tenant {owner!r}")
            resource = f"{owner}/{row['token_id']}"
            details = {"name": name, "role": str(role), "days": days}
            await audit(connection, actor, "token.create", tenant_id=owner, resource=resource, details=details)
        return Minted(row["token_id"], token, row["expires_at"])

    async def page(self, *, tenant_id: str | None = None, limit: int = 50, cursor: str | None = None) -> Page:
        """Tokens by tenant (operators' first) and id, without what they are."""
        limit = within(limit)
        where = Where()
        where.add_given("tenant_id = {}", tenant_id)
        if after := read_cursor(cursor, tuple[str, uuid.UUID]):
            where.add("(tenant_id, token_id) > ({}, {})", *after)
        query = (
            f"SELECT {_SHOWN} FROM api_tokens WHERE {where} ORDER BY tenant_id, token_id LIMIT {where.put(limit + 1)}"
        )
        with asking():
            rows = await self._pool.fetch(query, *where.arguments)
        return page_of(rows, limit, dict, "tenant_id", "token_id")

    async def revoke(self, token_id: uuid.UUID, *, actor: str) -> str:
        """End a token for good; return its name. Again changes nothing. Raises NotFound."""
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(_REVOKE, token_id)
            if row is None:
                raise NotFound("there is no such token")
            resource = f"{row['tenant_id']}/{token_id}"
            await audit(connection, actor, "token.revoke", tenant_id=row["tenant_id"], resource=resource)
            return str(row["name"])


class TokenCheck:
    """Who holds a token. ``pool`` logs in as pulse_auth."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def principal(self, token: str) -> Principal | None:
        """Whose token this is; None for one that is unknown, expired, revoked, or of a suspended tenant."""
        if not looks_like_token(token):
            return None
        with asking():
            row = await self._pool.fetchrow(_FIND, hash_token(token))
            if row is None:
                return None
            if row["note"]:
                await self._pool.execute(_USED, row["tenant_id"], row["token_id"])
        return Principal(f"token:{row['name']}", Role(row["role"]), row["tenant_id"] or None)
