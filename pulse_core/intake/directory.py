"""The device directory: the registry's rows in memory, kept in step by the database's notices.

No message causes a look-up. A miss or a token mismatch causes one throttled look-up, so that activate-then-connect
works before the notice arrives; after a lost connection everything is read again, and logins are refused once we have
been out of step for too long.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pulse_core.errors import Rejected, StoreUnavailable
from pulse_core.ingest import check_login

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.api import Credentials
    from pulse_core.ports import Clock, DeviceRegistry
    from pulse_core.records import Device, DeviceKey

log = structlog.get_logger(__name__)

STALE_LIMIT_US = 5_000_000
"""After this long out of step with the registry, nobody new is let in."""
LOOKUPS_PER_S = 100
"""Look-ups for misses, for all devices together: strangers cannot turn guesses into database load."""
_RETRY_S = 0.5


class Directory:
    """Every device of every tenant, by its key."""

    def __init__(self, registry: DeviceRegistry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._devices: dict[DeviceKey, Device] = {}
        self._per_tenant: dict[str, int] = {}
        self._watchers: list[Callable[[DeviceKey, Device | None, Device | None], None]] = []
        self._out_of_step_since_us: int | None = clock.now_us()
        self._lookups_left = float(LOOKUPS_PER_S)
        self._lookups_at_us = clock.now_us()
        self.loaded = asyncio.Event()

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, key: DeviceKey) -> Device | None:
        """The device as we know it."""
        return self._devices.get(key)

    def has_tenant(self, tenant_id: str) -> bool:
        """Whether a tenant has any device, that is: whether its name may be written down."""
        return tenant_id in self._per_tenant

    def on_change(self, watcher: Callable[[DeviceKey, Device | None, Device | None], None]) -> None:
        """Call ``watcher(key, before, after)`` for every device that changed; None means absent."""
        self._watchers.append(watcher)

    async def authenticate(self, credentials: Credentials) -> Device:
        """Log a device in. Raises Rejected, or StoreUnavailable when we cannot know."""
        since_us = self._out_of_step_since_us
        if since_us is not None and self._clock.now_us() - since_us > STALE_LIMIT_US:
            raise StoreUnavailable("the device directory is out of step with the registry")
        now_us = self._clock.now_us()
        try:
            return check_login(self.get(credentials.key), credentials, now_us)
        except Rejected:
            return check_login(await self.look_up(credentials.key), credentials, now_us)

    async def look_up(self, key: DeviceKey) -> Device | None:
        """Ask the registry for one device, unless too many asked lately; then what we know stands."""
        if not self._may_look_up():
            return self.get(key)
        found = await self._registry.find(key)
        self._put(key, found)
        return found

    async def follow(self) -> None:
        """Load everything, then follow the registry's notices; runs until cancelled."""
        while True:
            try:
                async for change in self._registry.changes():
                    await self._apply(change)
                    self._out_of_step_since_us = None
                    self.loaded.set()
            except StoreUnavailable as error:
                if self._out_of_step_since_us is None:
                    self._out_of_step_since_us = self._clock.now_us()
                log.warning("directory.out_of_step", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _apply(self, change: DeviceKey | str | None) -> None:
        if change is None:
            self._replace({device.key: device for device in await self._registry.load()}, set(self._devices))
        elif isinstance(change, str):
            known = {key for key in self._devices if key.tenant_id == change}
            self._replace({device.key: device for device in await self._registry.of_tenant(change)}, known)
        else:
            self._put(change, await self._registry.find(change))

    def _replace(self, found: dict[DeviceKey, Device], known: set[DeviceKey]) -> None:
        for key in known - found.keys():
            self._put(key, None)
        for key, device in found.items():
            self._put(key, device)

    def _put(self, key: DeviceKey, after: Device | None) -> None:
        before = self._devices.get(key)
        if before == after:
            return
        if after is None:
            del self._devices[key]
            self._count(key.tenant_id, -1)
        else:
            self._devices[key] = after
            if before is None:
                self._count(key.tenant_id, +1)
        for watcher in self._watchers:
            watcher(key, before, after)

    def _count(self, tenant_id: str, change: int) -> None:
        left = self._per_tenant.get(tenant_id, 0) + change
        if left:
            self._per_tenant[tenant_id] = left
        else:
            del self._per_tenant[tenant_id]

    def _may_look_up(self) -> bool:
        now_us = self._clock.now_us()
        earned = (now_us - self._lookups_at_us) / 1_000_000 * LOOKUPS_PER_S
        self._lookups_left = min(float(LOOKUPS_PER_S), self._lookups_left + max(0.0, earned))
        self._lookups_at_us = now_us
        if self._lookups_left < 1:
            return False
        self._lookups_left -= 1
        return True


def connections_end_at(before: Device | None, after: Device | None, now_us: int) -> int | None:
    """When a change of a device ends its live connections: at once, after a rotation's grace, or (None) not at all."""
    if before is None:
        return None
    if after is None or after.revoked or not after.tenant_active:
        return now_us
    if before.token_hash == after.token_hash:
        return None
    return after.previous_until_us if after.previous_token_hash == before.token_hash else now_us
