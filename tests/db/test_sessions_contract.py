"""Sessions of devices, in PostgreSQL and as the in-memory twin: what is tested here holds for both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pulse_core.device_sessions import Leaving, Opening, Saving
from pulse_core.records import DeviceKey
from pulse_core.testing.sessions import MemorySessions
from pulse_postgres.device_sessions import PostgresDeviceSessions
from pulse_postgres.pool import open_pool
from support.batches import judged, register
from support.memory import START_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from pulse_core.ports import SessionStore
    from support.database import Database

ONE, TWO, NAMESAKE = DeviceKey("tenant-a", "dev-1"), DeviceKey("tenant-a", "dev-2"), DeviceKey("tenant-b", "dev-1")
DAY_S = 86_400
FILTER = "tenant/tenant-a/device/dev-1/cmd/#"


class Kept(Protocol):
    """A store, and a look behind it."""

    @property
    def store(self) -> SessionStore: ...

    def kept(self, key: DeviceKey = ONE) -> set[str]:
        """The client ids of a device whose sessions are kept."""


class InMemory:
    def __init__(self) -> None:
        self.store = self._twin = MemorySessions()

    def kept(self, key: DeviceKey = ONE) -> set[str]:
        return {client_id for device, client_id in self._twin.held if device == key}


class InPostgres:
    def __init__(self, database: Database, pool: asyncpg.Pool[Any]) -> None:
        self._database = database
        self.store = PostgresDeviceSessions(pool)

    def kept(self, key: DeviceKey = ONE) -> set[str]:
        look = "SELECT client_id FROM device_sessions WHERE tenant_id = %s AND device_id = %s"
        return {row[0] for row in judged(self._database, look, key.tenant_id, key.device_id)}


@pytest.fixture(params=["memory", "postgres"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    if request.param == "memory":
        yield InMemory()
        return
    database = request.getfixturevalue("database")
    register(database, *map(str, (ONE, TWO, NAMESAKE)))
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test", by_index=True)
    yield InPostgres(database, pool)
    await pool.close()


class Hand:
    """A client of a device, one second older with everything it does."""

    clock = itertools.count(START_US, 1_000_000)

    def __init__(self, kept: Kept, key: DeviceKey = ONE, client_id: str = "c") -> None:
        self._store, self._who = kept.store, (key, client_id)

    def _now(self, after_s: float) -> int:
        return next(self.clock) + round(after_s * 1e6)

    async def opens(self, *, clean: bool = False, expiry_s: int = DAY_S, after_s: float = 0) -> dict[str, int] | None:
        return (await self._store.carry([Opening(*self._who, self._now(after_s), clean, expiry_s)]))[0]

    async def saves(self, **subscriptions: int) -> None:
        assert await self._store.carry([Saving(*self._who, self._now(0), subscriptions)]) == [None]

    async def leaves(self, expiry_s: int = DAY_S) -> None:
        assert await self._store.carry([Leaving(*self._who, self._now(0), expiry_s)]) == [None]


async def test_what_was_saved_is_there_when_it_comes_back(kept: Kept) -> None:
    hand = Hand(kept)
    assert await hand.opens() is None
    await hand.saves(a=1, b=0)
    await hand.saves(**{FILTER: 2**52, "b/+/\u00e4 \U0001f3ed \"'\\": 0})
    await hand.leaves()
    for _ in range(2):  # left, and taken over
        assert await hand.opens() == {FILTER: 2**52, "b/+/\u00e4 \U0001f3ed \"'\\": 0}
    await hand.saves()
    assert await hand.opens() == {}, "it goes on, with nothing"
