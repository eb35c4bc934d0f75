"""API tokens: how a program proves who it is. 256 random bits, shown once, kept as their hash."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.identity.token_check import PREFIX
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import KEY, By, Orders, Sorted
from pulse_postgres.tokens import hash_token, new_token

if TYPE_CHECKING:
    from collections.abc import Collection

    from pulse_core.principal import Role
    from pulse_postgres.connections import Connections

_SHOWN = "tenant_id, token_id, name, role, scopes, created_at, created_by, expires_at, last_used_at, revoked_at"

_CREATE = f"""
    INSERT INTO api_tokens (tenant_id, name, role, token_hash, created_by, expires_at, scopes)
    SELECT $1, $2, $3, $4, $5, now() + $6::interval, $7::text[]
    WHERE $1 = '' OR EXISTS (SELECT FROM tenants WHERE tenant_id = $1)
    RETURNING {_SHOWN}
"""
_ONE = f"SELECT {_SHOWN} FROM api_tokens WHERE token_id = $1 AND ($2::text IS NULL OR tenant_id = $2)"
_REVOKE = """
    UPDATE api_tokens SET revoked_at = COALESCE(revoked_at, now())
    WHERE token_id = $1 AND ($2::text IS NULL OR tenant_id = $2) RETURNING tenant_id, name
"""


TOKEN_ORDERS = Orders(
    by={
        "token_id": KEY,
        "name": By("name"),
        "created_at": By("created_at", datetime),
        "expires_at": By("expires_at", datetime),
        "last_used_at": By("last_used_at", datetime, nullable=True),
    },
    key={"tenant_id": By("tenant_id"), "token_id": By("token_id", uuid.UUID)},
    default="token_id",
)


class Minted(Struct, frozen=True):
    """A new token, shown this once, and what may be shown of it ever after."""

    token: str
    shown: dict[str, Any]

    @property
    def token_id(self) -> uuid.UUID:
        """Its id."""
        found: uuid.UUID = self.shown["token_id"]
        return found

    @property
    def expires_at(self) -> datetime:
        """When it is over."""
        found: datetime = self.shown["expires_at"]
        return found


class ApiTokens:
    """What administrators do with tokens.

    ``pool`` logs in as pulse_admin, or is a customer's own :class:`~pulse_postgres.connections.TenantPool`.
    """

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def create(
        self,
        name: str,
        role: Role,
        *,
        tenant_id: str | None,
        days: int,
        actor: str,
        scopes: Collection[str] | None = None,
    ) -> Minted:
        """Make a token for ``days``; ``tenant_id`` is None for operators. Raises NotFound: there is no such tenant.

        :param scopes: the areas that it opens; None: all that its role does.
        """
        areas = None if scopes is None else sorted(set(scopes))
        token = PREFIX + new_token()
        owner = tenant_id or ""
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(
                _CREATE, owner, name, str(role), hash_token(token), actor, timedelta(days=days), areas
            )
            if row is None:
                raise NotFound(f"there is no tenant {owner!r}")
            resource = f"{owner}/{row['token_id']}"
            details = {"name": name, "role": str(role), "days": days, "scopes": areas}
            await audit(connection, actor, "token.create", tenant_id=owner, resource=resource, details=details)
        return Minted(token, dict(row))

    async def page(self, **asked: Any) -> Page:
        """Tokens, without what they are; see :func:`token_page`."""
        return await token_page(self._pool, **asked)

    async def get(self, token_id: uuid.UUID, *, tenant_id: str | None = None) -> dict[str, Any]:
        """A token (of that tenant), without what it is. Raises NotFound."""
        with asking():
            row = await self._pool.fetchrow(_ONE, token_id, tenant_id)
        if row is None:
            raise NotFound("there is no such token")
        return dict(row)

    async def revoke(self, token_id: uuid.UUID, *, actor: str, tenant_id: str | None = None) -> str:
        """End a token (of that tenant) for good; return its name. Again changes nothing. Raises NotFound."""
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(_REVOKE, token_id, tenant_id)
            if row is None:
                raise NotFound("there is no such token")
            resource = f"{row['tenant_id']}/{token_id}"
            await audit(connection, actor, "token.revoke", tenant_id=row["tenant_id"], resource=resource)
            return str(row["name"])


async def token_page(
    pool: Connections,
    *,
    tenant_id: str | None = None,
    role: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Tokens by tenant (operators' first) and id, unless ``sort`` is another of TOKEN_ORDERS.

    :param tenant_id: '' for operators'; None for all.
    """
    part = Sorted(TOKEN_ORDERS, sort, limit, cursor)
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("role = {}", role)
    part.begin(where)
    query = f"""
        SELECT {_SHOWN}, {part.position} FROM api_tokens
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, item_of)
