"""What core needs of the world, as Protocols: the SQL behind them is in ``db/``, their test doubles in ``tests/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Sequence

    from pulse_core.api import ReadingKey
    from pulse_core.records import Delivery, Device, DeviceKey, DeviceState, Route, WriteSet
    from pulse_core.settings import Settings


class Clock(Protocol):
    """The time, injected."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""


class DeviceRegistry(Protocol):
    """The registry's read side: what the device directory caches."""

    async def load(self) -> list[Device]:
        """Every device of every tenant."""

    async def find(self, key: DeviceKey) -> Device | None:
        """One device, now."""

    async def of_tenant(self, tenant_id: str) -> list[Device]:
        """Every device of one tenant."""

    def changes(self) -> AsyncIterator[DeviceKey | str | None]:
        """Names of what changed: a device's key, or a tenant's id (all its devices).

        None comes first and after every lost connection: resync everything. Raises StoreUnavailable when the
        connection is lost; iterate again to reconnect.
        """


class LaneStore(Protocol):
    """One lane's own connection. Holding it means that no other process judges the lane's devices."""

    async def load(self) -> list[DeviceState]:
        """The committed state of the lane's devices, their open alerts included."""

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of these readings (by index) are stored already."""

    async def commit(self, writes: WriteSet) -> None:
        """Write all of it in one transaction. Idempotent, so an unknown outcome is simply tried again.

        Raises StoreUnavailable when the database does not answer; any other error is the data's.
        """

    async def close(self) -> None:
        """Give the connection and the partitions back."""


class LaneStores(Protocol):
    """Opens lanes."""

    async def open(self, shard: int, partitions: Sequence[int]) -> LaneStore:
        """Take ownership of ``partitions``, waiting for a former owner's connection to end."""


class RouteStore(Protocol):
    """Routes of all tenants, for the pipeline."""

    async def load(self) -> list[Route]:
        """Every enabled route whose integration is enabled."""

    def changes(self) -> AsyncIterator[None]:
        """Yields at once, and whenever routes may have changed. Raises StoreUnavailable when the connection is lost."""


class SettingsStore(Protocol):
    """The operator's live settings."""

    async def load(self) -> Settings:
        """The settings now."""

    def changes(self) -> AsyncIterator[None]:
        """As :meth:`RouteStore.changes`."""


__all__ = [
    "Clock",
    "Delivery",
    "DeviceRegistry",
    "LaneStore",
    "LaneStores",
    "RouteStore",
    "SettingsStore",
    "uuid",
]
