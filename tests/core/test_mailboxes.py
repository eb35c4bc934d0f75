"""Commands on their way through the intake: who may have some, who waits, and what a slow database does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import StoreUnavailable
from pulse_core.intake import mailboxes
from pulse_core.records import DeviceKey
from support.house import House
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = DeviceKey("tenant-a", "dev-1")
OTHER = DeviceKey("tenant-a", "dev-2")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.start()
    await until(lambda: house.path._mailboxes._in_step)
    yield house
    if house.commands.hold is not None:
        house.commands.hold.set()
    await house.stop()


async def ids(house: House, key: DeviceKey = KEY) -> list[object]:
    return [command.command_id for command in await house.intake.commands(key)]


async def heard(house: House, key: DeviceKey = KEY) -> None:
    await until(lambda: key in house.path._mailboxes._full)


async def test_a_device_without_commands_costs_nothing(house: House) -> None:
    for _ in range(100):
        assert await ids(house) == []
    assert house.commands.takes == 0
    command_id = house.commands.queue(KEY)
    await heard(house)
    assert await ids(house) == [command_id]
    assert house.commands.queued[command_id].way == "test"
    assert await house.intake.acknowledge_command(KEY, command_id)
    assert [await ids(house) for _ in range(10)] == [[]] * 10
    assert house.commands.takes == 2, "one that found it, one that found no more"


async def test_what_comes_while_nothing_is_found_is_not_forgotten(house: House) -> None:
    house.commands.queue(KEY, expires_in_s=-1)
    await heard(house)
    house.commands.hold = asyncio.Event()
    looking = asyncio.ensure_future(ids(house))
    await until(lambda: house.commands.takes == 1)
    before = house.path._mailboxes._full[KEY]
    house.commands.queue(KEY, expires_in_s=-1)
    await until(lambda: house.path._mailboxes._full[KEY] != before)
    house.commands.hold.set()
    assert await looking == []
    assert KEY in house.path._mailboxes._full


async def test_what_was_queued_while_nobody_listened_is_found(house: House) -> None:
    listeners, house.commands._news = house.commands._news, []
    command_id = house.commands.queue(KEY)
    house.commands._news = listeners
    assert await ids(house) == [], "nobody said so"
    house.commands.lose_notices()
    await heard(house)
    assert await ids(house) == [command_id]


async def test_out_of_step_every_fetch_looks(house: House) -> None:
    house.commands.down = True
    house.commands.lose_notices()
    await until(lambda: not house.path._mailboxes._in_step)
    with pytest.raises(StoreUnavailable):
        await ids(house)
    house.commands.down = False
    command_id = house.commands.queue(KEY)
    assert await ids(house) == [command_id]


async def test_a_database_that_does_not_answer_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "PATIENCE_S", 0.1)
    monkeypatch.setattr(mailboxes, "IN_LINE", 3)
    command_id = house.commands.queue(KEY)
    await heard(house)
    house.commands.hold = asyncio.Event()
    asked = await asyncio.gather(*(ids(house) for _ in range(20)), return_exceptions=True)
    assert {type(each) for each in asked} == {StoreUnavailable}
    assert house.commands.takes == mailboxes.AT_ONCE, "the others were still in line, or sent away at once"
    assert [str(each) for each in asked].count("too many ask for commands") == 20 - mailboxes.AT_ONCE - 3
    assert (await house.send(house.message()))[0].reason is None, "ingestion goes on"
    house.commands.hold.set()
    assert await ids(house) == [command_id]


async def test_whoever_waits_is_woken_by_its_own(house: House) -> None:
    async with asyncio.timeout(20):
        waiting = asyncio.ensure_future(house.intake.command_comes(KEY, 60))
        await until(lambda: house.path._mailboxes._waiters)
        house.commands.queue(OTHER)
        await heard(house, OTHER)
        assert not waiting.done()
        house.commands.queue(KEY)
        await waiting
        await house.intake.command_comes(KEY, 60)  # there is one: no wait
        await house.intake.command_comes(DeviceKey("tenant-a", "dev-3"), 0.01)
    assert not house.path._mailboxes._waiters


async def test_a_device_waits_once_and_the_platform_never_for_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20):
        first = asyncio.ensure_future(house.intake.command_comes(KEY, 60))
        await until(lambda: house.path._mailboxes._waiters)
        second = asyncio.ensure_future(house.intake.command_comes(KEY, 60))
        await first
        assert not second.done()
        monkeypatch.setattr(mailboxes, "WAITING", 1)
        await house.intake.command_comes(OTHER, 60)
        house.path.stopping.set()
        await second
        await house.intake.command_comes(KEY, 60)


async def test_arrivals_name_each_device_once_and_begin_with_those_that_wait(house: House) -> None:
    house.commands.queue(KEY)
    await heard(house)
    async with asyncio.timeout(20), aclosing(house.intake.command_arrivals()) as arrivals:  # type: ignore[type-var]
        assert await anext(arrivals) == KEY
        for _ in range(3):
            house.commands.queue(OTHER)
        house.commands.queue(KEY)
        await until(lambda: len(house.path._mailboxes._watchers[0]._devices) == 2)
        assert {await anext(arrivals), await anext(arrivals)} == {KEY, OTHER}
        house.commands.lose_notices()
        assert {await anext(arrivals), await anext(arrivals)} == {KEY, OTHER}
    assert house.path._mailboxes._watchers == []


async def test_a_request_is_charged_like_a_message(house: House) -> None:
    limits = house.settings.settings.model_copy(update={"RATE_LIMIT_RPS": 1, "RATE_LIMIT_BURST": 2})
    house.settings.settings = limits
    house.settings.changed.set()
    await until(lambda: house.path.world.settings.RATE_LIMIT_BURST == 2)
    assert [house.intake.charge(KEY) for _ in range(2)] == [0, 0]
    assert house.intake.charge(KEY) == pytest.approx(1.0)
    assert house.intake.charge(OTHER) == 0


async def test_who_fetches_some_by_name_has_not_seen_the_rest(house: House) -> None:
    command_id = house.commands.queue(KEY, "reboot")
    await heard(house)
    assert await house.intake.commands(KEY, names=frozenset({"blink"})) == []
    assert await house.intake.commands(KEY, names=frozenset()) == []
    assert await ids(house) == [command_id]
    assert [each.sent for each in await house.intake.commands(KEY)] == [True]
