"""What customers ask of their devices: a command is queued, with its line in the audit log."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from pulse_core.commands import MOST_NUMBER, MOST_OPEN
from pulse_core.errors import Conflict, NotFound
from pulse_postgres.acting import acting
from pulse_postgres.audit import audit
from pulse_postgres.commands import OPEN

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

_MISSING = "there is no such device"
_REVOKED = "SELECT revoked_at IS NOT NULL FROM devices WHERE tenant_id = $1 AND device_id = $2"
# Whoever queues for a device comes after whoever does so already, or both would count one too few.
_ONE_BY_ONE = "SELECT pg_advisory_xact_lock(hashtextextended('command ' || $1 || '/' || $2, 0))"
_OPEN = f"SELECT count(*) FROM device_commands WHERE tenant_id = $1 AND device_id = $2 AND {OPEN}"
# Not now(): that is when the transaction began, perhaps before the one it waited for. The number is the first after the
# newest command's that no open one has; where all old commands are forgotten no number is in use.
_QUEUE = f"""
    WITH newest AS (
        SELECT COALESCE((SELECT number FROM device_commands WHERE tenant_id = $1 AND device_id = $2
                         ORDER BY created_at DESC, command_id LIMIT 1), 0) AS number
    )
    INSERT INTO device_commands
        (tenant_id, device_id, command_id, name, payload, created_at, created_by, expires_at, number)
    SELECT $1, $2, $3, $4, $5::json, t, $6, t + $7::interval, n
    FROM clock_timestamp() AS t, newest, generate_series(0, {MOST_OPEN}) AS step,
        LATERAL (SELECT (newest.number + step) % {MOST_NUMBER} + 1 AS n) AS next
    WHERE n NOT IN (SELECT number FROM device_commands WHERE tenant_id = $1 AND device_id = $2 AND {OPEN})
    ORDER BY step LIMIT 1
"""


class CommandRequests:
    """Every call names its tenant. ``pool`` is that customer's :class:`~pulse_postgres.connections.TenantPool`."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def queue(
        self, tenant_id: str, device_id: str, name: str, payload: str, *, expires_in_s: int, actor: str
    ) -> uuid.UUID:
        """Queue a command; return its id. ``payload`` is JSON text. The audit log keeps its name and size, no more.

        :raises NotFound: there is no such device.
        :raises Conflict: it is revoked, or has too many open commands.
        """
        command_id = uuid.uuid4()
        async with acting(self._pool, missing=_MISSING) as connection:
            await connection.execute(_ONE_BY_ONE, tenant_id, device_id)
            revoked = await connection.fetchval(_REVOKED, tenant_id, device_id)
            if revoked is None:
                raise NotFound(_MISSING)
            if revoked:
                raise Conflict("the device is revoked")
            if await connection.fetchval(_OPEN, tenant_id, device_id) >= MOST_OPEN:
                raise Conflict(f"the device has {MOST_OPEN} commands that are neither acknowledged nor expired")
            lifetime = timedelta(seconds=expires_in_s)
            await connection.execute(_QUEUE, tenant_id, device_id, command_id, name, payload, actor, lifetime)
            details = {"command_id": str(command_id), "name": name, "payload_bytes": len(payload.encode())}
            resource = f"{tenant_id}/{device_id}"
            await audit(connection, actor, "device.command", tenant_id=tenant_id, resource=resource, details=details)
        return command_id
