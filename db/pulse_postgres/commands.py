"""Commands on their way to devices: given, acknowledged, expired, forgotten (role pulse_pipeline)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.commands import Command
from pulse_core.records import DeviceKey
from pulse_postgres.pool import CONNECT_TIMEOUT_S, listen, unavailable
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

CHANNEL = "pulse_commands"

OPEN = "status IN ('QUEUED', 'SENT') AND expires_at > now()"
"""SQL for the commands that a device may still get and acknowledge."""

_WAITING = f"SELECT DISTINCT tenant_id, device_id FROM device_commands WHERE {OPEN}"

# Of two who take the same QUEUED command at once, the second waits for the first's commit and finds it SENT: so
# without `again` one of them gets it, and with it the second returns only once the command is SENT for good.
_TAKE = f"""
    WITH due AS (
        SELECT command_id, name, payload::text, {us("created_at")} AS created_us, {us("expires_at")} AS expires_us,
               number
        FROM device_commands WHERE tenant_id = $1 AND device_id = $2 AND {OPEN} AND (status = 'QUEUED' OR $5)
            AND ($6::text[] IS NULL OR name = ANY ($6))
        ORDER BY created_at, command_id LIMIT $4
    ), sent AS (
        UPDATE device_commands c SET status = 'SENT', sent_at = now(), way = $3 FROM due
        WHERE c.tenant_id = $1 AND c.command_id = due.command_id AND c.status = 'QUEUED'
        RETURNING c.command_id
    )
    SELECT due.*, sent.command_id IS NULL FROM due LEFT JOIN sent USING (command_id)
    WHERE $5 OR sent.command_id IS NOT NULL ORDER BY created_us, command_id
"""
_ACKNOWLEDGE = """
    UPDATE device_commands SET status = 'ACKNOWLEDGED', acknowledged_at = COALESCE(acknowledged_at, now())
    WHERE tenant_id = $1 AND device_id = $2 AND command_id = $3
      AND (status = 'ACKNOWLEDGED' OR status = 'SENT' AND expires_at > now())
    RETURNING true
"""
_EXPIRE = "UPDATE device_commands SET status = 'EXPIRED' WHERE status IN ('QUEUED', 'SENT') AND expires_at <= now()"
_FORGET = f"""
    DELETE FROM device_commands WHERE status IN ('ACKNOWLEDGED', 'EXPIRED') AND expires_at < {at("$1::bigint")}
"""


class PostgresCommands:
    """See :class:`pulse_core.ports.CommandStore`. ``pool`` is its own, so that it takes no connection from others."""

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    async def waiting(self) -> list[DeviceKey]:
        """Every device that has open commands."""
        async with self._connection() as connection:
            return [DeviceKey(*row) for row in await connection.fetch(_WAITING)]

    async def take(
        self, device: DeviceKey, way: str, *, limit: int, again: bool, names: frozenset[str] | None = None
    ) -> list[Command]:
        """The oldest open commands of a device, SENT and committed."""
        those = None if names is None else list(names)
        async with self._connection() as connection:
            rows = await connection.fetch(_TAKE, device.tenant_id, device.device_id, way, limit, again, those)
        return [Command(*row) for row in rows]

    async def acknowledge(self, device: DeviceKey, command_id: uuid.UUID) -> bool:
        """Make a SENT command ACKNOWLEDGED, and commit that."""
        async with self._connection() as connection:
            found = await connection.fetchval(_ACKNOWLEDGE, device.tenant_id, device.device_id, command_id)
        return found is not None

    async def arrivals(self) -> AsyncIterator[DeviceKey | None]:
        """Devices for which a command was queued."""
        async for payload in listen(self._dsn, CHANNEL):
            yield None if payload is None else DeviceKey(*payload.split("/", 1))

    async def drop_before(self, cutoff_us: int) -> int:
        """Make those whose time is over EXPIRED, and forget the finished ones whose time was over by ``cutoff_us``."""
        async with self._connection() as connection:
            await connection.execute(_EXPIRE)
            tag = await connection.execute(_FORGET, cutoff_us)
        return int(tag.removeprefix("DELETE "))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """A connection that is dropped by whoever gives up: a server that hangs does not take a cancel either."""
        with unavailable():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                try:
                    yield connection
                except asyncio.CancelledError:
                    connection.terminate()
                    raise
