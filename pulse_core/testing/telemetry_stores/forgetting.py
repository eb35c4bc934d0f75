"""Tenants that come and go, what is forgotten of them, and how much there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import ReadingKey
from pulse_core.testing.telemetry_stores.opening import OpenedStore, all_of
from pulse_core.testing.telemetry_stores.readings import (
    DAY_US,
    DEVICE,
    OTHER_DEVICE,
    OTHER_TENANT,
    a_reading,
    now_us,
)

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey, Reading, TelemetryStore

_DEVICES = (DEVICE, OTHER_DEVICE, OTHER_TENANT)
_DAYS = 3
_EACH = 5 * _DAYS


class ForgettingContract(OpenedStore):
    """Of retention, of tenants and devices that are removed, and of sizes."""

    async def test_retention_forgets_the_old_and_only_the_old(self) -> None:
        """How exactly is the store's own matter, up to a day; what is forgotten may be written again."""
        now = now_us()
        old, young = a_reading(now - 30 * DAY_US), a_reading(now - 8 * DAY_US)
        async with self.opened() as store:
            await self.keep(store, [old, young])
            assert await store.drop_before(now - 10 * DAY_US) > 0
            assert [reading.ts_us for reading in await all_of(store)] == [young.ts_us]
            assert await store.known([ReadingKey(DEVICE, old.ts_us, old.key_hash)]) == set()
            assert await store.drop_before(now - 10 * DAY_US) == 0
            await self.keep(store, [old])
            assert len(await all_of(store)) == len([old, young])

    async def test_a_tenant_is_opened_once_and_again(self) -> None:
        """What is there stays there."""
        async with self.opened() as store:
            await store.open_tenant("tenant-a")
            await store.open_tenant("tenant-a")
            await self.keep(store, [a_reading(now_us() - 1)])
            await store.open_tenant("tenant-a")
            assert len(await all_of(store)) == 1

    async def test_a_device_is_forgotten_and_no_other(self) -> None:
        """On all its days; it may speak again."""
        now = now_us() - 1
        async with self.opened() as store:
            await self.keep(store, _of_each(now))
            async with self.forgetting(store) as other:
                assert await other.forget_device(DEVICE) in (0, _EACH)
                assert await other.forget_device(DEVICE) == 0
            gone = 0 if self.forgets_devices else _EACH
            assert await _count(store) == {DEVICE: gone, OTHER_DEVICE: _EACH, OTHER_TENANT: _EACH}
            if self.forgets_devices:
                await self.keep(store, [a_reading(now)])
                assert await _count(store) == {DEVICE: 1, OTHER_DEVICE: _EACH, OTHER_TENANT: _EACH}

    async def test_a_tenant_is_forgotten_and_no_other(self) -> None:
        """With all its devices and days; a tenant of the same name may come later."""
        now = now_us() - 1
        async with self.opened() as store:
            await self.keep(store, _of_each(now))
            async with self.forgetting(store) as other:
                assert await other.forget_tenant("tenant-a") in (0, 2 * _EACH)
                assert await other.forget_tenant("tenant-a") == 0
                assert await other.forget_tenant("no such tenant") == 0
            assert await _count(store) == {DEVICE: 0, OTHER_DEVICE: 0, OTHER_TENANT: _EACH}
            assert await store.known([ReadingKey(DEVICE, now, now)]) == set()
            await self.keep(store, [a_reading(now)])
            assert await _count(store) == {DEVICE: 1, OTHER_DEVICE: 0, OTHER_TENANT: _EACH}

    async def test_how_much_there_is(self) -> None:
        """Exactly, while there is little."""
        async with self.opened() as store:
            assert (await store.size()).readings == 0
            assert (await store.size("tenant-a")).readings == 0
            await self.keep(store, _of_each(now_us() - 1))
            sizes = [await store.size(tenant_id) for tenant_id in (None, "tenant-a", "tenant-b", "tenant-c")]
        assert [size.readings for size in sizes] == [3 * _EACH, 2 * _EACH, _EACH, 0]
        known = [size.data_bytes for size in sizes if size.data_bytes is not None]
        assert all(0 <= data_bytes <= known[0] for data_bytes in known), "a tenant has no more than all of them have"


def _of_each(until_us: int) -> list[Reading]:
    return [
        a_reading(until_us - number % _DAYS * DAY_US - number, device, key_hash=until_us - number)
        for device in _DEVICES
        for number in range(_EACH)
    ]


async def _count(store: TelemetryStore) -> dict[DeviceKey, int]:
    return {device: len(await all_of(store, device)) for device in _DEVICES}
