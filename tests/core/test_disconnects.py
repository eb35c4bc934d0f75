"""A device whose last connection has ended is STALE at once, if its tenant chose so; never for what was our doing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pulse_core.api import Evaluator, Judgement, PluginConfig
from pulse_core.device_connections import STALE_ON, Ending
from pulse_core.lanes.work import Disconnect, Work
from pulse_core.records import AlertEvent, DeviceKey, DeviceStatus, RawMessage, Reason, partition_of
from support.house import House
from support.memory import START_US, a_device
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = DeviceKey("tenant-a", "dev-1")


@asynccontextmanager
async def open_house(choice: str, **config: int) -> AsyncIterator[House]:
    """Dev-1 to dev-3 of a tenant that chose so, each heard once."""
    house = House(**config)
    for number in (1, 2, 3):
        device = replace(a_device(f"dev-{number}"), stale_on=STALE_ON[choice])
        house.registry.devices[device.key] = device
    await house.start()
    try:
        await house.send(*(house.message(f"dev-{number}") for number in (1, 2, 3)))
        yield house
    finally:
        await house.stop()


async def settled(house: House) -> None:
    """Everything that was queued has been decided."""
    for _ in range(20):
        await asyncio.sleep(0)
    for lane in house.path.lanes:
        await asyncio.wait_for(lane.idle(), 10)


@pytest.mark.parametrize("choice", STALE_ON)
@pytest.mark.parametrize("ending", Ending)
async def test_which_endings_count_is_the_tenants_choice(choice: str, ending: Ending) -> None:
    lost = {Ending.LOST, Ending.KEEP_ALIVE, Ending.NOT_READING, Ending.PROTOCOL_ERROR}
    wanted = {"never": set[Ending](), "lost": lost, "always": lost | {Ending.CLIENT_CLOSED}}[choice]
    async with open_house(choice) as house:
        house.intake.connected(KEY)(ending)
        await settled(house)
        stale = ending in wanted
        assert house.status() is (DeviceStatus.STALE if stale else DeviceStatus.ONLINE)
        assert [event for event, _, _ in house.database.events] == [AlertEvent.OPEN] * stale
        assert len(house.database.deliveries) == stale


async def test_the_alert_says_so_and_the_next_word_closes_it() -> None:
    async with open_house("lost") as house:
        house.intake.connected(KEY)(Ending.LOST)
        await until(lambda: house.opened() == 1)
        (alert,) = house.database.states[KEY].alerts.values()
        assert (alert.alert_type, alert.summary) == ("NO_HEARTBEAT", "dev-1 has disconnected (connection lost)")
        assert (alert.severity, alert.confidence, alert.details["disconnected"]) == (4, 0.9, "LOST")
        house.intake.connected(KEY)(Ending.LOST)
        await house.pass_time(60)
        await house.send(house.message(fields={"seq": 2}))
        assert house.status() is DeviceStatus.ONLINE
        assert [event for event, device, _ in house.database.events if device == "dev-1"] == [
            AlertEvent.OPEN, AlertEvent.CLOSED,
        ]  # fmt: skip


async def test_another_connection_that_lasts_keeps_it_online_whatever_its_way_in() -> None:
    async with open_house("lost") as house:
        first, second = house.intake.connected(KEY), house.path.intake("other").connected(KEY)
        first(Ending.LOST)
        first(Ending.LOST)
        await settled(house)
        assert house.status() is DeviceStatus.ONLINE
        second(Ending.TAKEN_OVER)
        await settled(house)
        assert house.status() is DeviceStatus.ONLINE
        house.intake.connected(KEY)(Ending.LOST)
        await until(lambda: house.status() is DeviceStatus.STALE)


async def test_what_it_sent_before_comes_first() -> None:
    async with open_house("lost", batch_messages=5) as house:
        house.database.hold = asyncio.Event()
        end = house.intake.connected(KEY)
        sent = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": n}) for n in range(10, 32)]))
        end(Ending.LOST)
        others = asyncio.ensure_future(house.intake.submit([house.message("dev-2", fields={"seq": 9})] * 20))
        house.database.hold.set()
        await asyncio.wait_for(asyncio.gather(sent, others), 10)
        await settled(house)
        assert house.database.states[KEY].last_seq == 31
        assert house.status() is DeviceStatus.STALE
        assert house.opened() == 1
        assert [event for event, _, _ in house.database.events] == [AlertEvent.OPEN], "in order: it never came back"


@pytest.mark.parametrize("back", ["a connection", "a message"])
async def test_who_is_back_before_that_is_judged_was_never_gone(back: str) -> None:
    async with open_house("lost") as house:
        end = house.intake.connected(KEY)
        lane = house.path.lanes[partition_of(KEY.tenant_id, KEY.device_id) % 2]
        house.database.hold = asyncio.Event()
        busy = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": 7})]))
        await until(lambda: not lane._queue)
        end(Ending.LOST)
        await asyncio.sleep(0)
        if back == "a connection":
            house.intake.connected(KEY)
        else:
            busy = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": 8})]))
        house.database.hold.set()
        await asyncio.wait_for(busy, 10)
        await settled(house)
        assert house.status() is DeviceStatus.ONLINE
        assert not house.database.events


async def test_a_stranger_who_uses_its_name_does_not_keep_it_online() -> None:
    async with open_house("lost") as house:
        end = house.intake.connected(KEY)
        house.database.hold = asyncio.Event()
        busy = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": 7})]))
        lane = house.path.lanes[partition_of(KEY.tenant_id, KEY.device_id) % 2]
        await until(lambda: not lane._queue)
        end(Ending.LOST)
        refused = RawMessage("tenant-a", "dev-1", "connect", b"", 1, "test", refused=Reason.TOKEN_INVALID)
        told = asyncio.ensure_future(house.intake.submit([refused]))
        house.database.hold.set()
        await asyncio.wait_for(asyncio.gather(busy, told), 10)
        await until(lambda: house.status() is DeviceStatus.STALE)


@pytest.mark.parametrize("when", ["before", "at once", "later"])
async def test_a_last_will_is_a_reading_and_no_sign_of_life(when: str) -> None:
    async with open_house("lost") as house:
        house.clock.advance(1)
        will = house.message(fields={"metrics": {"online": False}}, will=True)
        seen_us = house.database.states[KEY].last_seen_us
        end = house.intake.connected(KEY)
        if when == "before":
            await house.send(will)
        end(Ending.LOST)
        if when == "later":
            await until(lambda: house.status() is DeviceStatus.STALE)
        if when != "before":
            await house.send(will)
        await until(lambda: house.status() is DeviceStatus.STALE)
        await settled(house)
        assert [each.metrics for each in house.database.readings.values()].count({"online": False}) == 1
        assert house.database.states[KEY].last_seen_us == seen_us
        assert [event for event, device, _ in house.database.events if device == "dev-1"] == [AlertEvent.OPEN]


async def test_a_last_will_puts_no_deadline_off() -> None:
    async with open_house("never") as house:
        await house.pass_time(20)
        await house.send(house.message(will=True))
        await house.pass_time(11)
        await until(lambda: house.status() is DeviceStatus.STALE)


async def test_while_the_database_or_the_way_in_is_down_nobody_has_gone() -> None:
    async with open_house("always") as house:
        ends = {number: house.intake.connected(DeviceKey("tenant-a", f"dev-{number}")) for number in (1, 2, 3)}
        house.intake.receiving(False)
        ends[1](Ending.LOST)
        await settled(house)
        house.intake.receiving(True)
        house.database.down = True
        waiting = asyncio.ensure_future(house.intake.submit([house.message("dev-2", fields={"seq": 9})]))
        await until(lambda: bool(house.path.not_ready_because()))
        ends[2](Ending.LOST)
        ends[3](Ending.LOST)
        house.clock.advance(1)
        house.database.down = False
        await asyncio.wait_for(waiting, 10)
        await until(lambda: not house.path.not_ready_because())
        await settled(house)
        assert house.opened() == 0, "they may have knocked in vain"
        await house.pass_time(32)
        await until(lambda: house.opened() == 3)


async def test_a_disconnect_alone_finds_out_that_the_database_is_down() -> None:
    async with open_house("lost") as house:
        house.database.down = True
        house.intake.connected(KEY)(Ending.LOST)
        await until(lambda: bool(house.path.not_ready_because()))
        house.clock.advance(1)
        house.database.down = False
        await until(lambda: not house.path.not_ready_because())
        await settled(house)
        assert house.opened() == 0


async def test_a_disconnect_that_a_gap_of_ours_followed_says_nothing() -> None:
    async with open_house("lost") as house:
        end = house.intake.connected(KEY)
        lane = house.path.lanes[partition_of(KEY.tenant_id, KEY.device_id) % 2]
        end(Ending.LOST)
        lane._disconnects[KEY] = (0, replace(lane._disconnects[KEY][1], at_us=house.clock.now_us() - 1))
        house.path.world.ears.gap_ended()
        await settled(house)
        assert house.status() is DeviceStatus.ONLINE


async def test_a_crash_before_that_is_committed_leaves_it_to_the_deadline() -> None:
    async with open_house("lost") as house:
        before = dict(house.database.states)
        house.intake.connected(KEY)(Ending.LOST)
        await until(lambda: house.opened() == 1)
        house.database.states, house.database.events = before, []
        house.database.deliveries.clear()
        await house.stop()
        await house.start()
        await house.pass_time(29)
        assert house.opened() == 0
        await house.pass_time(3)
        await until(lambda: house.opened() == 3)


async def test_after_a_restart_it_is_still_stale_and_said_once() -> None:
    async with open_house("lost") as house:
        house.intake.connected(KEY)(Ending.LOST)
        await until(lambda: house.opened() == 1)
        await house.stop()
        await house.start()
        await house.pass_time(5)
        assert house.opened() == 1
        await house.send(house.message(fields={"seq": 2}))
        assert [event for event, _, _ in house.database.events] == [AlertEvent.OPEN, AlertEvent.CLOSED]


async def test_our_stop_and_devices_that_are_unknown_revoked_or_were_never_heard_make_no_alert() -> None:
    async with open_house("always") as house:
        house.registry.put(replace(a_device("dev-4"), stale_on=STALE_ON["always"]))
        await until(lambda: house.path.directory.get(DeviceKey("tenant-a", "dev-4")).stale_on)  # type: ignore[union-attr]
        house.intake.connected(DeviceKey("tenant-a", "dev-4"))(Ending.LOST)
        house.intake.connected(DeviceKey("tenant-a", "nobody"))(Ending.LOST)
        await settled(house)
        assert DeviceKey("tenant-a", "dev-4") not in house.database.states
        house.path.stopping.set()
        house.intake.connected(KEY)(Ending.LOST)
        await settled(house)
        assert house.opened() == 0


class Broken(Evaluator[int]):
    """Remembers every device, and breaks when one disconnects."""

    name = "broken"
    summary = "Breaks"
    memory_type = int

    def observe(self, *_: Any) -> Judgement:
        return Judgement(1)

    def wake(self, *_: Any) -> Judgement:
        return Judgement(1)

    def disconnected(self, *_: Any) -> Judgement | None:
        raise RuntimeError("on purpose")


class Indifferent(Broken):
    """Does not care, and keeps its memory and its wake-up."""

    name = "indifferent"
    disconnected = Evaluator.disconnected

    def observe(self, *_: Any) -> Judgement:
        return Judgement(7, (), START_US + 1_000_000_000)


async def test_an_evaluator_that_breaks_or_does_not_care_changes_nothing_for_the_others() -> None:
    house = House()
    device = replace(a_device(), stale_on=STALE_ON["lost"])
    house.registry.devices[device.key] = device
    house.evaluators = [Broken(PluginConfig()), Indifferent(PluginConfig()), *house.evaluators]
    await house.start()
    await house.send(house.message())
    house.intake.connected(KEY)(Ending.LOST)
    await until(lambda: house.status() is DeviceStatus.STALE)
    state = house.database.states[KEY]
    assert (state.memory["broken"], state.memory["indifferent"]) == (1, 7)
    assert state.wake_us == {"indifferent": START_US + 1_000_000_000}
    await house.stop()


async def test_a_work_is_halved_in_order_until_each_part_is_alone() -> None:
    keys = [DeviceKey("tenant-a", f"dev-{number}") for number in range(4)]
    gone = [Disconnect(key, "test", Ending.LOST, 0) for key in keys]
    parts = [Work([], gone, keys[:3], keys[:1])]
    while any(len(part) > 1 for part in parts):
        parts = [half for part in parts for half in (part.halves() if len(part) > 1 else (part,))]
    assert [(*part.disconnects, *part.due, *part.changed) for part in parts] == [
        (each,) for each in (*gone, *keys[:3], *keys[:1])
    ]  # fmt: skip
