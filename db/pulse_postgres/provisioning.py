"""Tenants and devices, made and unmade by administrators and by tenants' own admins, and activation by devices."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import Conflict, NotFound
from pulse_core.telemetry_store import asking as asking_store
from pulse_postgres import tokens
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.devices import DeviceFilter, device_page, one_device
from pulse_postgres.paging import Page, parted
from pulse_postgres.tenants import tenant_page

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.api import TelemetryStore
    from pulse_core.device_connections import StaleOnDisconnect
    from pulse_postgres.connections import Connections

_CREATE_TENANT = """
    INSERT INTO tenants (tenant_id, name, stale_after_s, stale_on_disconnect) VALUES ($1, $2, $3, $4)
    RETURNING tenant_id, name, status, stale_after_s, stale_on_disconnect, revision, created_at
"""
_CREATE_DEVICE = """
    INSERT INTO devices (tenant_id, device_id, site_id, name, labels, stale_after_s)
    VALUES ($1, $2, $3, $4, $5::jsonb, $6)
"""
# Whoever touches a device's codes locks the device first, so nobody waits in a circle.
_LOCK_DEVICE = """
    SELECT revoked_at IS NOT NULL AS revoked, activated FROM devices WHERE tenant_id = $1 AND device_id = $2 FOR UPDATE
"""
_FORGET_CODES = "DELETE FROM activation_codes WHERE tenant_id = $1 AND device_id = $2 AND used_at IS NULL"
_CREATE_CODE = """
    INSERT INTO activation_codes (tenant_id, device_id, code_hash, expires_at)
    VALUES ($1, $2, $3, now() + interval '60 minutes') RETURNING expires_at
"""
_REVOKE = """
    UPDATE devices SET revoked_at = COALESCE(revoked_at, now()), token_hash = NULL, previous_token_hash = NULL,
        previous_until = NULL, updated_at = now()
    WHERE tenant_id = $1 AND device_id = $2
"""
# With a previous_until, a trigger keeps the hash that is replaced: not everybody who does this may read it.
_ROTATE = """
    UPDATE devices SET previous_token_hash = NULL,
        previous_until = CASE WHEN $4::float8 > 0 THEN now() + $4::float8 * interval '1 second' END,
        token_hash = $3, updated_at = now()
    WHERE tenant_id = $1 AND device_id = $2
"""
_CODE_OF = "SELECT tenant_id, device_id FROM activation_codes WHERE code_hash = $1"
_ACTIVATE = """
    UPDATE devices SET token_hash = $3, previous_token_hash = NULL, previous_until = NULL, updated_at = now()
    WHERE tenant_id = $1 AND device_id = $2 AND revoked_at IS NULL RETURNING true
"""
_USE_CODE = """
    UPDATE activation_codes SET used_at = now()
    WHERE tenant_id = $1 AND device_id = $2 AND code_hash = $3 AND used_at IS NULL AND expires_at > now() RETURNING true
"""


class Code(Struct, frozen=True):
    """An activation code, shown this once."""

    tenant_id: str
    device_id: str
    code: str
    expires_at: datetime


class Granted(Struct, frozen=True):
    """A device's token, shown this once."""

    tenant_id: str
    device_id: str
    token: str


class Provisioning:
    """What administrators do; ``actor`` names who did it, for the audit log.

    ``pool`` logs in as pulse_admin. With a customer's :class:`~pulse_postgres.connections.TenantPool` it does what
    concerns that tenant's devices.

    :param telemetry: where a new tenant gets room for its readings.
    """

    def __init__(self, pool: Connections, telemetry: TelemetryStore | None = None) -> None:
        self._pool = pool
        self._telemetry = telemetry

    async def create_tenant(
        self,
        tenant_id: str,
        *,
        actor: str,
        name: str = "",
        stale_after_s: float | None = None,
        stale_on_disconnect: StaleOnDisconnect = "never",
    ) -> dict[str, Any]:
        """Make a tenant and return it.

        :raises Conflict: there is one of that id.
        :raises PermanentFailure: the telemetry store has no room for one more; there is no such tenant then.
        :raises ReadingsAway: the telemetry store does not answer; the same.
        """
        async with acting(self._pool, exists=f"there is a tenant {tenant_id!r} already") as connection:
            row = await connection.fetchrow(_CREATE_TENANT, tenant_id, name, stale_after_s, stale_on_disconnect)
            await audit(connection, actor, "tenant.create", tenant_id=tenant_id, resource=tenant_id)
            if self._telemetry is not None:
                with asking_store(self._telemetry):
                    await self._telemetry.open_tenant(tenant_id)
        return dict(row or {})

    async def tenants(self, **asked: Any) -> Page:
        """Tenants; see :func:`pulse_postgres.tenants.tenant_page`."""
        return await tenant_page(self._pool, **asked)

    async def create_device(
        self,
        tenant_id: str,
        device_id: str,
        site_id: str,
        *,
        actor: str,
        name: str = "",
        labels: dict[str, str] | None = None,
        stale_after_s: float | None = None,
    ) -> dict[str, Any]:
        """Register a device and return it. It has no token until it is activated.

        :raises Conflict: the tenant has a device of that id already.
        :raises NotFound: there is no such tenant.
        """
        async with acting(
            self._pool,
            exists=f"tenant {tenant_id!r} has a device {device_id!r} already",
            missing=f"there is no tenant {tenant_id!r}",
        ) as connection:
            packed = msgspec.json.encode(labels or {}).decode()
            await connection.execute(_CREATE_DEVICE, tenant_id, device_id, site_id, name, packed, stale_after_s)
            await _note(connection, actor, "device.create", tenant_id, device_id, site_id=site_id)
        return await self.device(tenant_id, device_id)

    async def device(self, tenant_id: str, device_id: str) -> dict[str, Any]:
        """One device with its derived status. Raises NotFound."""
        return await one_device(self._pool, tenant_id, device_id)

    async def devices(self, *, tenant_id: str | None = None, **asked: Any) -> Page:
        """Devices with their derived status, by tenant and id.

        :param asked: ``sort``, ``limit``, ``cursor``; the fields of a :class:`~pulse_postgres.devices.DeviceFilter`.
        """
        part, wanted = parted(asked)
        return await device_page(self._pool, DeviceFilter(**wanted), tenant_id=tenant_id, **part)

    async def tenants_of_device_id(self, device_id: str) -> list[str]:
        """Which tenants have a device of this id: more than one makes the bare id ambiguous."""
        with asking():
            rows = await self._pool.fetch(
                "SELECT tenant_id FROM devices WHERE device_id = $1 ORDER BY tenant_id", device_id
            )
        return [row[0] for row in rows]

    async def create_code(self, tenant_id: str, device_id: str, *, actor: str) -> Code:
        """Make a one-time activation code, good for 60 minutes; it replaces one that was not used.

        :raises NotFound: there is no such device.
        :raises Conflict: the device is revoked.
        """
        code = tokens.new_code()
        async with acting(self._pool) as connection:
            await _lock(connection, tenant_id, device_id, may_be_revoked=False)
            await connection.execute(_FORGET_CODES, tenant_id, device_id)
            expires_at = await connection.fetchval(_CREATE_CODE, tenant_id, device_id, tokens.hash_code(code))
            await _note(connection, actor, "device.activate-code", tenant_id, device_id)
        return Code(tenant_id, device_id, code, expires_at)

    async def revoke(self, tenant_id: str, device_id: str, *, actor: str) -> None:
        """Shut a device out for good: its tokens and leftover codes die. Again changes nothing. Raises NotFound."""
        async with acting(self._pool) as connection:
            await _lock(connection, tenant_id, device_id, may_be_revoked=True)
            await connection.execute(_REVOKE, tenant_id, device_id)
            await connection.execute(_FORGET_CODES, tenant_id, device_id)
            await _note(connection, actor, "device.revoke", tenant_id, device_id)

    async def rotate_token(self, tenant_id: str, device_id: str, *, actor: str, grace_s: float = 0) -> Granted:
        """Give a device a new token; the old one stays valid for ``grace_s``.

        :raises NotFound: there is no such device.
        :raises Conflict: the device is revoked, or was never activated.
        """
        token = tokens.new_token()
        async with acting(self._pool) as connection:
            device = await _lock(connection, tenant_id, device_id, may_be_revoked=False)
            if not device["activated"]:
                raise Conflict(f"device {device_id!r} was never activated: make an activation code")
            await connection.execute(_ROTATE, tenant_id, device_id, tokens.hash_token(token), float(grace_s))
            await _note(connection, actor, "device.rotate-token", tenant_id, device_id, grace_s=grace_s)
        return Granted(tenant_id, device_id, token)


class Activation:
    """What devices do. ``pool`` logs in as pulse_auth."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def activate(self, code: str) -> Granted:
        """Trade a code for a token, once. A token that the device had dies.

        :raises NotFound: unknown, used, expired, or of a revoked device: a stranger cannot tell which.
        """
        hashed, token = tokens.hash_code(code), tokens.new_token()
        if hashed is None:
            raise NotFound("this code is not valid")
        async with acting(self._pool) as connection:
            device = await connection.fetchrow(_CODE_OF, hashed)
            if (
                device is None
                or not await connection.fetchval(_ACTIVATE, *device, tokens.hash_token(token))
                or not await connection.fetchval(_USE_CODE, *device, hashed)
            ):
                raise NotFound("this code is not valid")
        return Granted(device["tenant_id"], device["device_id"], token)


async def _lock(
    connection: PoolConnectionProxy[Any], tenant_id: str, device_id: str, *, may_be_revoked: bool
) -> asyncpg.Record:
    device: asyncpg.Record | None = await connection.fetchrow(_LOCK_DEVICE, tenant_id, device_id)
    if device is None:
        raise NotFound("there is no such device")
    if device["revoked"] and not may_be_revoked:
        raise Conflict(f"device {device_id!r} is revoked")
    return device


async def _note(
    connection: PoolConnectionProxy[Any], actor: str, action: str, tenant_id: str, device_id: str, **details: Any
) -> None:
    await audit(connection, actor, action, tenant_id=tenant_id, resource=f"{tenant_id}/{device_id}", details=details)
