"""Commands on their way to devices, in PostgreSQL and as the in-memory twin: what is tested here holds for both."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pulse_core.commands import CommandStatus
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
        held.command = type(held.command)(**{**_fields(held.command), "expires_us": self.clock.now_us()})


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


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


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
