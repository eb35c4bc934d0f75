"""The audit log: who did what. Written in the transaction of the deed, so that neither exists without the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.acting import acting

if TYPE_CHECKING:
    import asyncpg
    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

_APPEND = """
    INSERT INTO audit_log (tenant_id, actor, action, resource, details) VALUES ($1, $2, $3, $4, $5::jsonb)
"""


async def audit(
    connection: Connection | PoolConnectionProxy[Any],
    actor: str,
    action: str,
    *,
    tenant_id: str = "",
    resource: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Append one line.

    :param actor: who, as ``admin-key`` or ``cli:root``.
    :param action: what, as ``device.revoke``.
    :param resource: to what, as ``tenant-a/dev-1``.
    :param details: what else is worth knowing; never a secret.
    """
    await connection.execute(_APPEND, tenant_id, actor, action, resource, msgspec.json.encode(details or {}).decode())


class AuditLog:
    """For deeds that change nothing but must be known: what operators look at. ``pool`` logs in as pulse_operator."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def note(self, actor: str, action: str, resource: str, details: dict[str, Any] | None = None) -> None:
        """Append one line, committed when this returns. Show nothing before that."""
        async with acting(self._pool) as connection:
            await audit(connection, actor, action, resource=resource, details=details)
