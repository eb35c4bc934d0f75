"""Sessions of devices, in PostgreSQL and as the in-memory twin: what is tested here holds for both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pulse_core.device_sessions import (
    LONGEST_CLIENT_ID,
    LONGEST_FILTER,
    MOST_A_DEVICE,
    MOST_EXPIRY_S,
    MOST_SUBSCRIPTIONS,
    Leaving,
    Opening,
    Saving,
)
from pulse_core.records import DeviceKey
from pulse_core.testing.sessions import MemorySessions
from pulse_postgres.device_sessions import PostgresDeviceSessions
from pulse_postgres.pool import open_pool
from support.batches import judged, register
from support.memory import START_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from pulse_core.device_sessions import SessionDeed
    from pulse_core.ports import SessionStore
    from support.database import Database

ONE, TWO, NAMESAKE = DeviceKey("tenant-a", "dev-1"), DeviceKey("tenant-a", "dev-2"), DeviceKey("tenant-b", "dev-1")
DAY_S = 86_400
MANY = {"tenant/tenant-a/device/dev-1/cmd/#": 2**52, "b/+/\u00e4 \U0001f3ed \"'\\": 0}


class Kept(Protocol):
    """A store, and a look behind it."""

    @property
    def store(self) -> SessionStore: ...

    def kept(self, key: DeviceKey) -> set[str]: ...


class InMemory:
    def __init__(self) -> None:
        self.store = self._twin = MemorySessions()

    def kept(self, key: DeviceKey) -> set[str]:
        return {client_id for device, client_id in self._twin.held if device == key}


class InPostgres:
    def __init__(self, database: Database, pool: asyncpg.Pool[Any]) -> None:
        self._database = database
        self.store = PostgresDeviceSessions(pool)

    def kept(self, key: DeviceKey) -> set[str]:
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


class Client:
    """A client of a device; between any two things that clients do a second passes."""

    clock = itertools.count(START_US, 1_000_000)

    def __init__(self, kept: Kept, key: DeviceKey = ONE, client_id: str = "c") -> None:
        self._store, self._who = kept.store, (key, client_id)

    async def opens(self, *, clean: bool = False, expiry_s: int = DAY_S, later_s: float = 0) -> dict[str, int] | None:
        return await self._does(Opening(*self._who, next(self.clock) + round(later_s * 1e6), clean, expiry_s))

    async def saves(self, subscriptions: dict[str, int]) -> None:
        assert await self._does(Saving(*self._who, next(self.clock), subscriptions)) is None

    async def leaves(self, expiry_s: int = DAY_S) -> None:
        assert await self._does(Leaving(*self._who, next(self.clock), expiry_s)) is None

    async def _does(self, deed: SessionDeed) -> dict[str, int] | None:
        [found] = await self._store.carry([deed])
        return found


async def test_what_was_saved_is_there_when_it_comes_back(kept: Kept) -> None:
    client = Client(kept)
    assert await client.opens() is None
    await client.saves({"a": 1, "b": 0})
    await client.saves(MANY)
    await client.leaves()
    for _ in range(2):  # left, and taken over
        assert await client.opens() == MANY
    await client.saves({})
    assert await client.opens() == {}, "it goes on, with nothing"


async def test_each_client_of_each_device_has_its_own(kept: Kept) -> None:
    clients = [Client(kept, *who) for who in ((ONE, "c"), (ONE, "C"), (ONE, ""), (TWO, "c"), (NAMESAKE, "c"))]
    for number, client in enumerate(clients):
        assert await client.opens() is None
        await client.saves({"a": number})
    assert [await client.opens() for client in clients] == [{"a": number} for number in range(5)]


async def test_it_is_over_so_long_after_it_was_left(kept: Kept) -> None:
    client = Client(kept)
    for later_s, goes_on in ((58.9, True), (59, False), (DAY_S, False)):
        await client.opens()
        await client.saves({"a": 1})
        await client.leaves(60)
        assert await client.opens(later_s=later_s) == ({"a": 1} if goes_on else None)
        await client.opens(clean=True)
    await client.saves({"a": 1})
    assert await client.opens(later_s=1000 * DAY_S) == {"a": 1}, "nobody has left it"
    await client.leaves(MOST_EXPIRY_S)
    assert await client.opens(later_s=MOST_EXPIRY_S - 2) == {"a": 1}


async def test_a_clean_one_begins_anew(kept: Kept) -> None:
    client = Client(kept)
    await client.opens()
    await client.saves({"a": 1})
    assert await client.opens(clean=True) is None
    assert await client.opens() == {}, "and is kept as any other"


@pytest.mark.parametrize("clean", [False, True])
async def test_without_expiry_it_lives_with_its_connection(kept: Kept, clean: bool) -> None:
    client = Client(kept)
    assert await client.opens(expiry_s=0) is None
    await client.saves({"a": 1})
    await client.leaves()
    assert kept.kept(ONE) == set()
    await client.opens()
    await client.saves({"a": 1})
    assert await client.opens(clean=clean, expiry_s=0) == (None if clean else {"a": 1})
    assert kept.kept(ONE) == set()


async def test_left_for_good_it_is_forgotten(kept: Kept) -> None:
    client, other = Client(kept), Client(kept, client_id="other")
    await client.opens()
    await other.opens()
    await client.leaves(0)
    assert kept.kept(ONE) == {"other"}
    assert await client.opens() is None


async def test_much_at_once_each_with_its_own_answer(kept: Kept) -> None:
    for client_id in ("goes on", "is left", "is saved", "ends", "is cleaned"):
        await Client(kept, client_id=client_id).opens()
        await Client(kept, client_id=client_id).saves({client_id: 1})
    now = next(Client.clock)
    assert await kept.store.carry(
        [
            Leaving(ONE, "is left", now, 2),
            Opening(ONE, "is cleaned", now, True, DAY_S),
            Opening(ONE, "ends", now, False, 0),
            Saving(ONE, "is saved", now, {"b": 2}),
            Opening(ONE, "is new", now, False, DAY_S),
            Opening(ONE, "goes on", now, False, DAY_S),
            Leaving(TWO, "never was", now, 0),
        ]
    ) == [None, None, {"ends": 1}, None, None, {"goes on": 1}, None]
    assert kept.kept(ONE) == {"goes on", "is left", "is saved", "is cleaned", "is new"}
    assert await Client(kept, client_id="is saved").opens() == {"b": 2}
    assert await kept.store.carry([]) == []


async def test_those_of_a_process_that_died_are_left_now(kept: Kept) -> None:
    clients = {client_id: Client(kept, client_id=client_id) for client_id in ("connected", "lost", "left")}
    for client in clients.values():
        await client.opens(expiry_s=60)
        await client.saves({"a": 1})
    await clients["left"].leaves(DAY_S)
    now = next(Client.clock)
    await kept.store.leave_all_but([(ONE, "connected"), (TWO, "lost")], now)
    await kept.store.leave_all_but([(ONE, "connected")], now + 30_000_000)
    found = await kept.store.carry([Opening(ONE, each, now + 60_000_000, False, DAY_S) for each in clients])
    assert found == [{"a": 1}, None, {"a": 1}]
    await kept.store.leave_all_but([], now + 60_000_000)
    assert await clients["connected"].opens(later_s=2 * DAY_S) is None


async def test_beyond_so_many_the_one_left_longest_ago_goes_and_then_the_oldest(kept: Kept) -> None:
    for number in range(MOST_A_DEVICE):
        await Client(kept, client_id=f"c{number:02}").opens()
    await Client(kept, TWO, "neighbour").opens()
    for number in (7, 3, 5):
        await Client(kept, client_id=f"c{number:02}").leaves()
    await Client(kept, client_id="c20").leaves(1)  # it will be over: it goes before the others
    await Client(kept, client_id="c09").saves({"a": 1})
    for number, goes in enumerate(("c20", "c07", "c03", "c05", "c00", "c01", "c02", "c04", "c06", "c08", "c10")):
        before = kept.kept(ONE)
        await Client(kept, client_id=f"new{number:02}").opens()
        assert before - kept.kept(ONE) == {goes}
        assert f"new{number:02}" in kept.kept(ONE)
    await Client(kept, client_id="c00").saves({"a": 1})
    await Client(kept, client_id="c00").leaves()
    assert len(kept.kept(ONE)) == MOST_A_DEVICE
    assert kept.kept(TWO) == {"neighbour"}


async def test_the_largest_that_there_is(kept: Kept) -> None:
    client = Client(kept, client_id="\U0001f3ed" * LONGEST_CLIENT_ID)
    filters = {f"{number:02}".ljust(LONGEST_FILTER, "\U0001f3ed"): 2**52 for number in range(MOST_SUBSCRIPTIONS)}
    await client.opens(expiry_s=MOST_EXPIRY_S)
    await client.saves(filters)
    assert await client.opens() == filters
