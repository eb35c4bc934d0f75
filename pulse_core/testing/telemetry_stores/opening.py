"""What every test of a telemetry store needs: the store, and a way to write to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pulse_core.testing.telemetry_stores.readings import DAY_US, DEVICE, now_us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from pulse_core.api import DeviceKey, Place, Reading, SelectedReading, Selection, StoredReading, TelemetryStore


class OpenedStore(ABC):
    """A store that is opened, empty, for each test."""

    forgets_devices: ClassVar[bool] = True
    """False: it cannot delete the readings of one device, and :meth:`TelemetryStore.forget_device` deletes none."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[TelemetryStore]:
        """Open an empty store, and close it."""

    @asynccontextmanager
    async def forgetting(self, store: TelemetryStore) -> AsyncIterator[TelemetryStore]:
        """Give the store as it is opened where devices and tenants are forgotten: by another role, perhaps."""
        yield store

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Give what :meth:`TelemetryStore.write` takes as ``transaction``, and commit it."""
        yield None

    async def keep(self, store: TelemetryStore, readings: Sequence[Reading]) -> None:
        """Write as the product does: make room for the tenants, prepare, then write in a transaction."""
        for tenant_id in sorted({reading.device.tenant_id for reading in readings}):
            await store.open_tenant(tenant_id)
        await store.prepare(readings)
        async with self.transaction() as transaction:
            await store.write(readings, transaction)


async def all_of(store: TelemetryStore, device: DeviceKey = DEVICE) -> list[StoredReading]:
    """Every reading of a device, newest first."""
    return await store.history(device, start_us=0, end_us=now_us() + DAY_US, limit=1000)


async def whole_history(
    store: TelemetryStore, device: DeviceKey, *, start_us: int, end_us: int, limit: int, **more: Any
) -> list[StoredReading]:
    """The readings of a device, newest first, put together from pages."""
    found: list[StoredReading] = []
    before_us: int | None = None
    while page := await store.history(
        device, start_us=start_us, end_us=end_us, limit=limit, before_us=before_us, **more
    ):
        found += page
        before_us = page[-1].ts_us
    return found


async def whole_selection(store: TelemetryStore, wanted: Selection, *, limit: int) -> list[SelectedReading]:
    """What is wanted, put together from pages."""
    found: list[SelectedReading] = []
    after: Place | None = None
    while page := await store.select(wanted, limit=limit, after=after):
        assert len(page) <= limit, "a page holds no more than was asked for"
        found += page
        after = page[-1].place
        assert len(found) < 1_000_000, "the pages never end"  # noqa: PLR2004 - more than any test writes
    return found
