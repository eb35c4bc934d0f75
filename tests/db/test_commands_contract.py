"""Commands on their way to devices, in PostgreSQL and as the in-memory twin: what is tested here holds for both."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from msgspec.structs import replace

from pulse_core.commands import MOST_NUMBER, CommandStatus
from pulse_core.records import DeviceKey
from pulse_core.testing.commands import MemoryCommands
from pulse_postgres.command_pages import one_command
from pulse_postgres.command_requests import CommandRequests
from pulse_postgres.commands import PostgresCommands
from pulse_postgres.connections import TenantPool
from pulse_postgres.pool import open_pool
from support.batches import judged, register
from support.memory import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from pulse_core.ports import CommandStore
    from support.database import Database

ONE, TWO = DeviceKey("tenant-a", "dev-1"), DeviceKey("tenant-a", "dev-2")
NAMESAKE = DeviceKey("tenant-b", "dev-1")


class Commands(Protocol):
    """A store, and what customers and time do to it."""

    @property
    def store(self) -> CommandStore: ...

    async def queue(self, device: DeviceKey, name: str = "reboot", payload: str = "{}") -> uuid.UUID: ...

    async def status(self, device: DeviceKey, command_id: uuid.UUID) -> CommandStatus: ...

    async def pass_its_time(self, command_id: uuid.UUID) -> None: ...

    async def renumber(self, command_id: uuid.UUID, number: int) -> None: ...

    async def forget(self, command_id: uuid.UUID) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = self._twin = MemoryCommands(self.clock.now_us)

    async def queue(self, device: DeviceKey, name: str = "reboot", payload: str = "{}") -> uuid.UUID:
        return self._twin.queue(device, name, payload)

    async def status(self, device: DeviceKey, command_id: uuid.UUID) -> CommandStatus:
        assert self._twin.queued[command_id].device == device
        return self._twin.status(command_id)

    async def pass_its_time(self, command_id: uuid.UUID) -> None:
        held = self._twin.queued[command_id]
        held.command = replace(held.command, expires_us=self.clock.now_us())

    async def renumber(self, command_id: uuid.UUID, number: int) -> None:
        held = self._twin.queued[command_id]
        held.command = replace(held.command, number=number)

    async def forget(self, command_id: uuid.UUID) -> None:
        del self._twin.queued[command_id]


class InPostgres:
    def __init__(self, database: Database, pipeline: asyncpg.Pool[Any], web: asyncpg.Pool[Any]) -> None:
        self._database = database
        self._web = web
        self.store = PostgresCommands(pipeline, database.dsn("pulse_pipeline"))

    async def queue(self, device: DeviceKey, name: str = "reboot", payload: str = "{}") -> uuid.UUID:
        requests = CommandRequests(TenantPool(self._web, device.tenant_id))
        return await requests.queue(
            device.tenant_id, device.device_id, name, payload, expires_in_s=3600, actor="somebody"
        )

    async def status(self, device: DeviceKey, command_id: uuid.UUID) -> CommandStatus:
        found = await one_command(TenantPool(self._web, device.tenant_id), device.tenant_id, command_id)
        return CommandStatus(found["status"])

    async def pass_its_time(self, command_id: uuid.UUID) -> None:
        judged(
            self._database,
            "UPDATE device_commands SET created_at = now() - interval '2 s', expires_at = now() - interval '1 s'"
            " WHERE command_id = %s RETURNING true",
            command_id,
        )

    async def renumber(self, command_id: uuid.UUID, number: int) -> None:
        renumber = "UPDATE device_commands SET number = %s WHERE command_id = %s RETURNING true"
        judged(self._database, renumber, number, command_id)

    async def forget(self, command_id: uuid.UUID) -> None:
        judged(self._database, "DELETE FROM device_commands WHERE command_id = %s RETURNING true", command_id)


@pytest.fixture(params=["memory", "postgres"])
async def commands(request: pytest.FixtureRequest) -> AsyncIterator[Commands]:
    if request.param == "memory":
        yield InMemory()
        return
    database = request.getfixturevalue("database")
    register(database, *map(str, (ONE, TWO, NAMESAKE)))
    pipeline = await open_pool(database.dsn("pulse_pipeline"), name="test")
    web = await open_pool(database.dsn("pulse_web"), name="test")
    yield InPostgres(database, pipeline, web)
    await pipeline.close()
    await web.close()


async def names(commands: Commands, device: DeviceKey = ONE, *, limit: int = 100, again: bool = True) -> list[str]:
    return [each.name for each in await commands.store.take(device, "http", limit=limit, again=again)]


async def test_a_device_gets_its_own_oldest_first(commands: Commands) -> None:
    for device, name in ((ONE, "a"), (NAMESAKE, "theirs"), (TWO, "neighbours"), (ONE, "b"), (ONE, "c")):
        await commands.queue(device, name)
    assert await names(commands, limit=2) == ["a", "b"]
    assert await names(commands) == ["a", "b", "c"]
    assert await names(commands, NAMESAKE) == ["theirs"]
    assert await names(commands, DeviceKey("tenant-a", "nobody")) == []


async def test_it_gets_what_was_written_and_when(commands: Commands) -> None:
    payload = '{"b": 1e308, "a": [1, 1.0, 123456789012345678901234567890, "\\u00e4"], "b2": null}'
    command_id = await commands.queue(ONE, "set.rate:fast", payload)
    [command] = await commands.store.take(ONE, "http", limit=5, again=True)
    assert (command.command_id, command.name, command.payload) == (command_id, "set.rate:fast", payload)
    assert command.expires_us - command.created_us == pytest.approx(3600 * 1_000_000, abs=10)


async def test_queued_sent_acknowledged(commands: Commands) -> None:
    command_id = await commands.queue(ONE)
    assert await commands.status(ONE, command_id) is CommandStatus.QUEUED
    assert not await commands.store.acknowledge(ONE, command_id), "nobody has it yet"
    await names(commands)
    assert await commands.status(ONE, command_id) is CommandStatus.SENT
    for stranger in (TWO, NAMESAKE):
        assert not await commands.store.acknowledge(stranger, command_id)
    assert not await commands.store.acknowledge(ONE, uuid.uuid4())
    assert await names(commands) == ["reboot"], "again, until it is acknowledged"
    assert await commands.store.acknowledge(ONE, command_id)
    assert await commands.store.acknowledge(ONE, command_id)
    assert await commands.status(ONE, command_id) is CommandStatus.ACKNOWLEDGED
    assert await names(commands) == []


async def test_without_again_each_comes_once_whoever_asks(commands: Commands) -> None:
    for number in range(20):
        await commands.queue(ONE, f"n{number}")
    taken = await asyncio.gather(*(names(commands, again=False, limit=7) for _ in range(8)))
    while more := await names(commands, again=False):
        taken.append(more)
    assert sorted(name for each in taken for name in each) == sorted(f"n{number}" for number in range(20))
    assert len(await names(commands)) == 20


async def test_two_who_fetch_at_once_lose_nothing(commands: Commands) -> None:
    wanted = [f"n{number}" for number in range(10)]
    for name in wanted:
        await commands.queue(ONE, name)
    assert await asyncio.gather(*(names(commands) for _ in range(6))) == [wanted] * 6


async def test_past_its_time_it_is_neither_given_nor_acknowledged(commands: Commands) -> None:
    unsent = await commands.queue(ONE)
    await commands.pass_its_time(unsent)
    assert await names(commands) == []
    sent = await commands.queue(ONE)
    await names(commands)
    await commands.pass_its_time(sent)
    assert not await commands.store.acknowledge(ONE, sent)
    done = await commands.queue(ONE)
    await names(commands)
    await commands.store.acknowledge(ONE, done)
    await commands.pass_its_time(done)
    assert await commands.store.acknowledge(ONE, done), "a device that missed the answer asks again"
    assert [await commands.status(ONE, each) for each in (unsent, sent, done)] == [
        CommandStatus.EXPIRED,
        CommandStatus.EXPIRED,
        CommandStatus.ACKNOWLEDGED,
    ]


async def test_it_says_what_was_sent_before(commands: Commands) -> None:
    await commands.queue(ONE, "a")
    assert [each.sent for each in await commands.store.take(ONE, "mqtt", limit=5, again=False)] == [False]
    await commands.queue(ONE, "b")
    for before in ([("a", True), ("b", False)], [("a", True), ("b", True)]):
        taken = await commands.store.take(ONE, "mqtt", limit=5, again=True)
        assert [(each.name, each.sent) for each in taken] == before
    many = [await commands.queue(TWO) for _ in range(10)]
    taken_at_once = await asyncio.gather(*(commands.store.take(TWO, "mqtt", limit=99, again=True) for _ in range(6)))
    first = [each.command_id for taken in taken_at_once for each in taken if not each.sent]
    assert sorted(first) == sorted(many), "of those who fetch at once one is the first"


async def test_only_those_that_it_wants(commands: Commands) -> None:
    for name in ("a", "b", "c", "a"):
        await commands.queue(ONE, name)

    async def take(*wanted: str, **how: Any) -> list[str]:
        found = await commands.store.take(ONE, "mqtt", **{"limit": 5, "again": False, **how}, names=frozenset(wanted))
        return [each.name for each in found]

    assert await take() == []
    assert await take("A", "d") == []
    assert await take("a", "c", "d", limit=2) == ["a", "c"], "the oldest of these"
    assert await take("a", "c", "d") == ["a"]
    assert await take("c", again=True) == ["c"]
    assert await names(commands, again=False) == ["b"], "as it was"


async def numbers(commands: Commands, device: DeviceKey = ONE) -> list[int]:
    return [each.number for each in await commands.store.take(device, "mqtt", limit=100, again=True)]


async def test_each_device_counts_its_commands(commands: Commands) -> None:
    ids = [await commands.queue(ONE) for _ in range(3)]
    await commands.queue(NAMESAKE)
    await commands.queue(TWO)
    assert (await numbers(commands), await numbers(commands, NAMESAKE), await numbers(commands, TWO)) == (
        [1, 2, 3],
        [1],
        [1],
    )
    for each in ids:
        await commands.store.acknowledge(ONE, each)
    await asyncio.gather(*(commands.queue(ONE) for _ in range(5)))
    assert sorted(await numbers(commands)) == [4, 5, 6, 7, 8], "also past those that are done"


async def test_from_the_last_number_on_to_the_first_but_never_one_of_an_open_command(commands: Commands) -> None:
    first, second, third = [await commands.queue(ONE) for _ in range(3)]
    await names(commands)
    await commands.store.acknowledge(ONE, second)
    await commands.renumber(third, MOST_NUMBER - 1)
    for _ in range(3):
        await commands.queue(ONE)
    assert await numbers(commands) == [1, MOST_NUMBER - 1, MOST_NUMBER, 2, 3]
    await commands.renumber(first, 4)
    await commands.queue(ONE)
    assert (await numbers(commands))[-1] == 5


async def test_when_all_is_forgotten_it_counts_from_1(commands: Commands) -> None:
    for _ in range(2):
        ids = [await commands.queue(ONE) for _ in range(2)]
        assert await numbers(commands) == [1, 2]
        for each in ids:
            await commands.forget(each)


async def test_it_says_who_has_something_waiting(commands: Commands) -> None:
    for device in (ONE, ONE, NAMESAKE):
        await commands.queue(device)
    over, done = await commands.queue(TWO), await commands.queue(TWO)
    await names(commands, TWO)
    assert set(await commands.store.waiting()) == {ONE, TWO, NAMESAKE}
    await commands.pass_its_time(over)
    await commands.store.acknowledge(TWO, done)
    assert sorted(await commands.store.waiting()) == [ONE, NAMESAKE]


async def test_it_tells_of_arrivals(commands: Commands) -> None:
    async with aclosing(commands.store.arrivals()) as arrivals, asyncio.timeout(30):  # type: ignore[type-var]
        assert await anext(arrivals) is None
        await commands.queue(NAMESAKE)
        assert await anext(arrivals) == NAMESAKE
        await commands.queue(ONE)
        assert await anext(arrivals) == ONE
