"""The device registry as the device directory reads it (role pulse_pipeline)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pulse_core.device_connections import STALE_ON
from pulse_core.records import Device, DeviceKey, partition_of
from pulse_postgres.pool import listen, unavailable
from pulse_postgres.sqltime import us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

CHANNEL = "pulse_devices"
_CHUNK = 5000

_DEVICES = f"""
    SELECT d.tenant_id, d.device_id, d.site_id, d.revoked_at IS NOT NULL, d.token_hash, d.previous_token_hash,
           COALESCE({us("d.previous_until")}, 0), COALESCE(d.stale_after_s, t.stale_after_s), t.status = 'ACTIVE',
           t.stale_on_disconnect
    FROM devices d JOIN tenants t USING (tenant_id)
"""
_OF_TENANT = _DEVICES + "WHERE d.tenant_id = $1"
_ONE = _DEVICES + "WHERE d.tenant_id = $1 AND d.device_id = $2"


class PostgresRegistry:
    """See :class:`pulse_core.ports.DeviceRegistry`."""

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    async def load(self) -> list[Device]:
        """Every device of every tenant."""
        return await self._devices(_DEVICES)

    async def tenant_ids(self) -> list[str]:
        """Every tenant."""
        with unavailable():
            return [row[0] for row in await self._pool.fetch("SELECT tenant_id FROM tenants ORDER BY tenant_id")]

    async def of_tenant(self, tenant_id: str) -> list[Device]:
        """Every device of one tenant."""
        return await self._devices(_OF_TENANT, tenant_id)

    async def find(self, key: DeviceKey) -> Device | None:
        """One device, now."""
        with unavailable():
            row = await self._pool.fetchrow(_ONE, key.tenant_id, key.device_id)
        return None if row is None else _device(row)

    async def changes(self) -> AsyncIterator[DeviceKey | str | None]:
        """See :meth:`pulse_core.ports.DeviceRegistry.changes`."""
        async for payload in listen(self._dsn, CHANNEL):
            if payload is None:
                yield None
                continue
            tenant_id, _, device_id = payload.partition("/")
            yield DeviceKey(tenant_id, device_id) if device_id else tenant_id

    async def _devices(self, query: str, *arguments: str) -> list[Device]:
        """Read in chunks: 100,000 rows at once would double what the directory itself takes."""
        devices: list[Device] = []
        with unavailable():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(query, *arguments)
                while rows := await cursor.fetch(_CHUNK):
                    devices.extend(map(_device, rows))
        return devices


def _device(row: asyncpg.Record) -> Device:
    tenant_id, device_id, site_id, revoked, token_hash, previous, previous_until_us, stale_after_s, active, choice = row
    return Device(
        key=DeviceKey(sys.intern(tenant_id), device_id),
        site_id=sys.intern(site_id),
        revoked=revoked,
        token_hash=token_hash,
        partition=partition_of(tenant_id, device_id),
        previous_token_hash=previous,
        previous_until_us=previous_until_us,
        stale_after_s=stale_after_s,
        tenant_active=active,
        stale_on=STALE_ON[choice],
    )
