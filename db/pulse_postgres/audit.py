"""The audit log: who did what. Written in the transaction of the deed, so that neither exists without the other."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
from msgspec import Struct

from pulse_core.errors import StoreUnavailable
from pulse_postgres.acting import acting

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

_APPEND = """
    INSERT INTO audit_log (tenant_id, actor, action, resource, details, address, agent, request_id)
    VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8)
"""


class Origin(Struct, frozen=True):
    """Where a deed came from: the peer's address, its User-Agent, and the request's id. Empty on the command line."""

    address: str = ""
    agent: str = ""
    request_id: str = ""


ORIGIN: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - it is frozen
"""The origin of the current request. Whoever takes requests sets it once, so that no store can forget to pass it on."""


async def audit(
    connection: Connection | PoolConnectionProxy[Any],
    actor: str,
    action: str,
    *,
    tenant_id: str = "",
    resource: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Append one line, with the :data:`ORIGIN` of the current request.

    :param actor: who, as ``admin-key`` or ``cli:root``.
    :param action: what, as ``device.revoke``.
    :param resource: to what, as ``tenant-a/dev-1``.
    :param details: what else is worth knowing; never a secret.
    :raises StoreUnavailable: it cannot be written, which is nobody's fault who asks: the deed is not done.
    """
    said = msgspec.json.encode(details or {}).decode()
    origin = ORIGIN.get()
    try:
        await connection.execute(
            _APPEND, tenant_id, actor, action, resource, said, origin.address, origin.agent, origin.request_id
        )
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.InsufficientPrivilegeError) as error:
        raise StoreUnavailable(f"the audit log cannot be written: {error}") from error


class AuditLog:
    """For deeds that change nothing but must be known: what operators look at. ``pool`` logs in as pulse_operator."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def note(
        self, actor: str, action: str, resource: str, details: dict[str, Any] | None = None, *, tenant_id: str = ""
    ) -> None:
        """Append one line, committed when this returns. Show nothing before that."""
        async with acting(self._pool, keyed=False) as connection:
            await audit(connection, actor, action, tenant_id=tenant_id, resource=resource, details=details)
