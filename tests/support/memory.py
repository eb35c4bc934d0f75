"""In-memory twins of the pipeline's stores, and a clock that a test moves by hand."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING

from pulse_core.device_connections import DeviceConnection, Ending
from pulse_core.errors import OwnershipLost, ReadingsRefused, StoreUnavailable
from pulse_core.ingest import hash_token
from pulse_core.records import (
    AlertEvent,
    Delivery,
    Device,
    DeviceKey,
    DeviceState,
    OpenAlert,
    Reading,
    Reject,
    Route,
    WriteSet,
    partition_of,
)
from pulse_core.settings import Settings

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Sequence

    from pulse_core.api import ReadingKey

START_US = 1_800_000_000_000_000


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_us: int = START_US) -> None:
        self.time_us = now_us

    def now_us(self) -> int:
        return self.time_us

    def advance(self, seconds: float) -> None:
        self.time_us += round(seconds * 1_000_000)


def a_device(
    device_id: str = "dev-1",
    tenant_id: str = "tenant-a",
    *,
    token: str | None = "token",
    site_id: str = "site-1",
    revoked: bool = False,
    stale_after_s: float | None = None,
) -> Device:
    """A registered, activated device."""
    return Device(
        key=DeviceKey(tenant_id, device_id),
        site_id=site_id,
        revoked=revoked,
        token_hash=None if token is None else hash_token(token),
        partition=partition_of(tenant_id, device_id),
        stale_after_s=stale_after_s,
    )


class MemoryRegistry:
    """A registry that is a dictionary; ``put`` and ``remove`` are noticed like a NOTIFY."""

    def __init__(self, *devices: Device) -> None:
        self.devices = {device.key: device for device in devices}
        self.notices: asyncio.Queue[DeviceKey | str | StoreUnavailable | None] = asyncio.Queue()
        self.look_ups = 0
        self.silent = False

    def put(self, device: Device) -> None:
        self.devices[device.key] = device
        self._notice(device.key)

    def remove(self, key: DeviceKey) -> None:
        del self.devices[key]
        self._notice(key)

    async def load(self) -> list[Device]:
        return list(self.devices.values())

    async def find(self, key: DeviceKey) -> Device | None:
        self.look_ups += 1
        return self.devices.get(key)

    async def of_tenant(self, tenant_id: str) -> list[Device]:
        return [device for device in self.devices.values() if device.key.tenant_id == tenant_id]

    async def changes(self) -> AsyncIterator[DeviceKey | str | None]:
        yield None
        while True:
            notice = await self.notices.get()
            if isinstance(notice, StoreUnavailable):
                raise notice
            yield notice

    def _notice(self, key: DeviceKey) -> None:
        if not self.silent:
            self.notices.put_nowait(key)


class MemoryRoutes:
    """Routes in a list."""

    def __init__(self, *routes: Route) -> None:
        self.routes = list(routes)
        self.changed = asyncio.Event()

    async def load(self) -> list[Route]:
        return list(self.routes)

    async def changes(self) -> AsyncIterator[None]:
        while True:
            yield None
            await self.changed.wait()
            self.changed.clear()


class MemorySettings:
    """Settings in a variable."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings(RATE_LIMIT_RPS=100_000, RATE_LIMIT_BURST=1_000_000)
        self.changed = asyncio.Event()

    async def load(self) -> Settings:
        return self.settings

    async def changes(self) -> AsyncIterator[None]:
        while True:
            yield None
            await self.changed.wait()
            self.changed.clear()


class MemoryDatabase:
    """What is committed, shared by all lanes and by everyone who starts again. Can be told to fail."""

    def __init__(self) -> None:
        self.readings: dict[tuple[DeviceKey, int, int], Reading] = {}
        self.states: dict[DeviceKey, DeviceState] = {}
        self.alerts: dict[DeviceKey, dict[str, OpenAlert]] = {}
        self.events: list[tuple[AlertEvent, str, str]] = []
        self.deliveries: dict[object, Delivery] = {}
        self.rejects: list[Reject] = []
        self.commits = 0
        self.down = False
        self.forget_answer = False
        self.poison: str | None = None
        self.refuses_rejects = False
        self.readings_first = False
        """Readings are kept before anything is committed, as by a telemetry store beside the database;"""
        self.unstorable: str | None = None
        """it refuses those that have a metric of this name,"""
        self.refuses_at_once = 1000
        """so many of them in one answer."""
        self.committed: list[Reading] = []
        self.taken_over = False
        self.hold: asyncio.Event | None = None

    async def open(self, shard: int, partitions: Sequence[int]) -> MemoryLane:
        del shard
        return MemoryLane(self, frozenset(partitions))


class MemoryLane:
    """One lane's view of the database."""

    def __init__(self, database: MemoryDatabase, partitions: frozenset[int]) -> None:
        self._db = database
        self._partitions = partitions
        self._last: WriteSet | None = None

    async def load(self) -> list[DeviceState]:
        return [
            state
            for key, state in self._db.states.items()
            if partition_of(key.tenant_id, key.device_id) in self._partitions
        ]

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        if self._db.down:
            raise StoreUnavailable("down")
        return {index for index, key in enumerate(keys) if self._knows(key)}

    async def commit(self, writes: WriteSet) -> None:
        if self._db.hold is not None:
            await self._db.hold.wait()
        await asyncio.sleep(0)
        if self._db.readings_first:
            self._keep_first(writes.readings)
        if self._db.taken_over:
            raise OwnershipLost("another process has the lane")
        if self._db.down:
            raise StoreUnavailable("down")
        if any(reading.metrics.get("poison") == self._db.poison for reading in writes.readings if self._db.poison):
            raise ValueError("the data makes the database fail")
        if self._db.refuses_rejects and writes.rejects:
            raise ValueError("not even this")
        self._write(writes)
        if self._db.forget_answer:
            self._db.forget_answer = False
            raise StoreUnavailable("the connection broke after COMMIT")

    async def close(self) -> None:
        return

    def _write(self, writes: WriteSet) -> None:
        db = self._db
        if writes is self._last:
            return
        self._last = writes
        db.commits += 1
        db.committed += writes.readings
        self._keep(writes.readings)
        for state in writes.states:
            db.states[state.key] = state
        for change, _ in writes.changes:
            db.events.append((change.event, change.device.device_id, change.alert.alert_type))
        for delivery in writes.deliveries:
            db.deliveries.setdefault(delivery.delivery_id, delivery)
        db.rejects.extend(writes.rejects)

    def _keep(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            self._db.readings.setdefault((reading.device, reading.ts_us, reading.key_hash), reading)

    def _keep_first(self, readings: Sequence[Reading]) -> None:
        refused = [index for index, each in enumerate(readings) if self._db.unstorable in each.metrics]
        self._keep([each for index, each in enumerate(readings) if index not in refused])
        if refused:
            raise ReadingsRefused(dict.fromkeys(refused[: self._db.refuses_at_once], "no such thing is kept"))

    def _knows(self, key: ReadingKey) -> bool:
        if key.since_us is None:
            return (key.device, key.ts_us, key.key_hash) in self._db.readings
        return any(
            device == key.device and ts_us >= key.since_us and key_hash == key.key_hash
            for device, ts_us, key_hash in self._db.readings
        )


class MemoryConnections:
    """Implements :class:`pulse_core.ports.ConnectionStore`."""

    def __init__(self) -> None:
        self.kept: dict[uuid.UUID, DeviceConnection] = {}
        self.batches: list[int] = []
        self.down = False

    async def record(self, connections: Sequence[DeviceConnection]) -> None:
        copies = [copy(each) for each in connections]
        await self._answer()
        self.batches.append(len(copies))
        for each in copies:
            before = self.kept.get(each.connection_id)
            if before is None or before.ended_us is None or before.times < each.times:
                self.kept[each.connection_id] = each

    async def end_all_but(self, connection_ids: Sequence[uuid.UUID]) -> None:
        await self._answer()
        for each in self.kept.values():
            if each.ended_us is None and each.connection_id not in connection_ids:
                each.ended_us, each.ending = each.connected_us, Ending.SERVER_STOPPED

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("the test says so")
