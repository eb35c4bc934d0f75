"""What administrators do with users over the API: made, changed, removed; never so that nobody is left in charge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.errors import Conflict, NotFound
from pulse_core.principal import Role
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.identity.user_pages import SHOWN
from pulse_postgres.revisions import demand_revision

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from pulse_postgres.connections import Connections

_ADD = f"""
    INSERT INTO users (tenant_id, username, role, email, password_hash, created_by)
    SELECT $1, $2, $3, $4, $5, $6 WHERE $1 = '' OR EXISTS (SELECT FROM tenants WHERE tenant_id = $1)
    RETURNING {SHOWN}
"""
_ONE = f"SELECT {SHOWN} FROM users WHERE tenant_id = $1 AND user_id = $2"
_LOCKED = f"{_ONE} FOR UPDATE"
_OWNER = "SELECT tenant_id FROM users WHERE user_id = $1"
# In one order, so that two administrators who lock each other out wait, and the second finds itself alone.
_IN_CHARGE = """
    SELECT user_id FROM users
    WHERE tenant_id = $1 AND role IN ('customer_admin', 'operator_admin') AND disabled_at IS NULL
    ORDER BY user_id FOR UPDATE
"""
_REMOVE = "DELETE FROM users WHERE tenant_id = $1 AND user_id = $2 RETURNING true"
_END_SESSIONS = "UPDATE sessions SET ended_at = now() WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL"
_IN_CHARGE_ROLES = frozenset({Role.CUSTOMER_ADMIN, Role.OPERATOR_ADMIN})


class UserChanges(Struct, frozen=True, kw_only=True):
    """What to change of a user; None leaves it."""

    role: Role | None = None
    email: str | None = None
    disabled: bool | None = None
    password_hash: str | None = None

    @property
    def ends_sessions(self) -> bool:
        """Whether whoever is logged in must do so again."""
        return self.role is not None or self.password_hash is not None or bool(self.disabled)

    @property
    def steps_down(self) -> bool:
        """Whether a user who was in charge is not afterwards."""
        return bool(self.disabled) or (self.role is not None and self.role not in _IN_CHARGE_ROLES)


class UserRequests:
    """Every call names the tenant, '' for operators; what is another's does not exist.

    ``pool`` is that customer's :class:`~pulse_postgres.connections.TenantPool`, or logs in as pulse_admin. A user is a
    dict of :data:`~pulse_postgres.identity.user_pages.SHOWN`.
    """

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def owner_of(self, user_id: uuid.UUID) -> str:
        """Whose user this is (for pulse_admin). Raises NotFound."""
        with asking():
            owner: str | None = await self._pool.fetchval(_OWNER, user_id)
        if owner is None:
            raise NotFound("there is no such user")
        return owner

    async def get(self, tenant_id: str, user_id: uuid.UUID) -> dict[str, Any]:
        """One user. Raises NotFound."""
        with asking():
            return dict(_found(await self._pool.fetchrow(_ONE, tenant_id, user_id)))

    async def add(
        self, tenant_id: str, username: str, role: Role, password_hash: str, *, email: str, actor: str
    ) -> dict[str, Any]:
        """Make a user and return it.

        :raises Conflict: somebody in this installation has the name; it is not said who.
        :raises NotFound: there is no such tenant.
        """
        async with acting(self._pool, exists="this name is taken") as connection:
            row = await connection.fetchrow(_ADD, tenant_id, username, str(role), email, password_hash, actor)
            if row is None:
                raise NotFound(f"there is no tenant {tenant_id!r}")
            details = {"role": str(role), "email": email}
            await audit(connection, actor, "user.create", tenant_id=tenant_id, resource=username, details=details)
        return dict(row)

    async def change(
        self,
        tenant_id: str,
        user_id: uuid.UUID,
        wanted: UserChanges,
        *,
        actor: str,
        may_be_last: bool = False,
        only_if: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Change a user and return it. Another role or password, and disabling, end the sessions.

        :param may_be_last: whether the last one in charge may step down.
        :param only_if: see :func:`~pulse_postgres.revisions.demand_revision`.
        :raises NotFound: there is no such user. :raises Conflict: nobody would be left in charge.
        :raises Stale: it is none of those revisions.
        """
        async with acting(self._pool) as connection:
            if wanted.steps_down and not may_be_last:
                await _demand_another(connection, tenant_id, user_id)
            before = _found(await connection.fetchrow(_LOCKED, tenant_id, user_id))
            demand_revision(before["revision"], only_if)
            row = _found(await _update(connection, tenant_id, user_id, wanted))
            if wanted.ends_sessions:
                await connection.execute(_END_SESSIONS, tenant_id, user_id)
            details = _differences(before, row, wanted)
            await audit(
                connection, actor, "user.change", tenant_id=tenant_id, resource=row["username"], details=details
            )
        return dict(row)

    async def remove(
        self,
        tenant_id: str,
        user_id: uuid.UUID,
        *,
        actor: str,
        may_be_last: bool = False,
        only_if: Collection[str] | None = None,
    ) -> None:
        """Remove a user with all sessions; the audit log keeps what they did. Raises as :meth:`change`."""
        async with acting(self._pool) as connection:
            if not may_be_last:
                await _demand_another(connection, tenant_id, user_id)
            user = _found(await connection.fetchrow(_LOCKED, tenant_id, user_id))
            demand_revision(user["revision"], only_if)
            await connection.execute(_REMOVE, tenant_id, user_id)
            await audit(connection, actor, "user.remove", tenant_id=tenant_id, resource=user["username"])


async def _update(
    connection: PoolConnectionProxy[Any], tenant_id: str, user_id: uuid.UUID, wanted: UserChanges
) -> asyncpg.Record | None:
    """Only what is wanted is written: nobody who may not read a password's hash could write it back."""
    values: list[Any] = [tenant_id, user_id]
    writes = ["updated_at = now()"]
    for column, value in (("role", wanted.role), ("email", wanted.email), ("password_hash", wanted.password_hash)):
        if value is not None:
            values.append(str(value))
            writes.append(f"{column} = ${len(values)}")
    if wanted.disabled is not None:
        writes.append("disabled_at = " + ("COALESCE(disabled_at, now())" if wanted.disabled else "NULL"))
    if wanted.password_hash is not None or wanted.disabled is False:
        writes.append("failed_logins = 0")
    return await connection.fetchrow(
        f"UPDATE users SET {', '.join(writes)} WHERE tenant_id = $1 AND user_id = $2 RETURNING {SHOWN}", *values
    )


async def _demand_another(connection: PoolConnectionProxy[Any], tenant_id: str, user_id: uuid.UUID) -> None:
    if [row[0] for row in await connection.fetch(_IN_CHARGE, tenant_id)] == [user_id]:
        raise Conflict("nobody would be left in charge: make another administrator first")


def _differences(before: asyncpg.Record, after: asyncpg.Record, wanted: UserChanges) -> dict[str, Any]:
    """For the audit log: old and new of what changed; of a password, that it did."""
    changed: dict[str, Any] = {
        name: {"old": before[name], "new": after[name]} for name in ("role", "email") if before[name] != after[name]
    }
    was, is_ = (row["disabled_at"] is not None for row in (before, after))
    if was != is_:
        changed["disabled"] = {"old": was, "new": is_}
    return changed | ({"password": "replaced"} if wanted.password_hash is not None else {})


def _found(row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound("there is no such user")
    return row
