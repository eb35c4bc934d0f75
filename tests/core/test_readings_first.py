"""The data path with a telemetry store that has the readings before anything else is committed, and may refuse some."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.config import PipelineConfig
from pulse_core.errors import ReadingsRefused
from pulse_core.records import AlertEvent, DeviceKey, DeviceStatus, Reason, Verdict
from pulse_core.redelivery import LOOK_BACK_US
from support.house import House
from support.memory import MemoryLane
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.records import Outcome, WriteSet

BAD = {"metrics": {"bad": "text"}}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(lanes=1)
    house.database.readings_first, house.database.unstorable = True, "bad"
    await house.start()
    yield house
    house.database.down = False
    await house.stop()


def refused(outcome: Outcome) -> bool:
    said = (outcome.verdict, outcome.reason, outcome.detail)
    return said == (Verdict.REJECTED, Reason.INVALID_FIELD, "no such thing is kept")


def stored(house: House, device_id: str = "dev-1") -> list[Any]:
    return [each.seq for (device, _, _), each in house.database.readings.items() if device.device_id == device_id]


async def test_a_reading_that_the_store_refuses_is_quarantined_and_nothing_else_is(house: House) -> None:
    outcomes = await house.send(
        house.message(fields={"seq": 1}),
        house.message(fields={"seq": 9, **BAD}),
        house.message("dev-2", fields=BAD),
        house.message(fields={"seq": 2}),
    )
    assert [refused(each) for each in outcomes] == [False, True, True, False]
    assert [(each.reason, each.detail) for each in house.database.rejects] == [
        (Reason.INVALID_FIELD, "no such thing is kept")
    ] * 2
    assert [each.seq for each in house.database.committed] == stored(house) == [1, 2]
    assert house.database.commits == 1
    assert house.database.states[DeviceKey("tenant-a", "dev-1")].last_seq == 2
    assert DeviceKey("tenant-a", "dev-2") not in house.database.states, "what was refused changed nothing"


async def test_a_refused_reading_closes_no_alert(house: House) -> None:
    await house.send(house.message())
    await house.pass_time(32)
    await until(lambda: house.opened() == 1)
    assert refused((await house.send(house.message(fields=BAD)))[0])
    assert house.status() is DeviceStatus.STALE
    assert [event for event, _, _ in house.database.events] == [AlertEvent.OPEN]


async def test_what_is_refused_bit_by_bit_is_carried_as_often(house: House) -> None:
    house.database.refuses_at_once = 1
    messages = [house.message(fields={"seq": n, **(BAD if n % 3 == 0 else {})}) for n in range(12)]
    outcomes = await house.send(*messages)
    assert [refused(each) for each in outcomes] == [n % 3 == 0 for n in range(12)]
    assert [each.seq for each in house.database.committed] == stored(house) == [n for n in range(12) if n % 3]
    assert len(house.database.rejects) == 4
    assert house.database.commits == 1


async def test_a_repeat_of_what_is_refused_is_refused(house: House) -> None:
    message = house.message(fields={"ts": house.clock.now_us() // 1000, "seq": 1, **BAD})
    assert [refused(each) for each in await house.send(message, message)] == [True, True]
    assert refused((await house.send(message))[0])
    assert not house.database.readings


async def test_what_the_first_try_stored_is_no_redelivery_in_the_second(house: House) -> None:
    now_ms = house.clock.now_us() // 1000
    await house.send(house.message(fields={"ts": now_ms, "seq": 5}))
    await house.send(
        house.message(fields={"ts": now_ms - 1000, "seq": 4}),
        house.message(fields={"seq": 3}),
        house.message(fields={"ts": now_ms + 1, **BAD}),
    )
    assert [each.seq for each in house.database.committed] == [5, 4, 3], "late ones count and are judged"
    assert stored(house) == [5, 4, 3]


async def test_a_batch_that_fails_after_its_readings_are_stored_stores_none_twice(house: House) -> None:
    house.database.poison = "kills"
    house.database.hold = asyncio.Event()
    messages = [house.message(fields={"metrics": {"n": n}}) for n in range(6)]
    messages[3] = house.message(fields={"metrics": {"poison": "kills"}})
    sent = asyncio.ensure_future(house.intake.submit(messages))
    await asyncio.sleep(0.01)
    house.database.hold.set()
    outcomes = await asyncio.wait_for(sent, 10)
    assert [each.verdict for each in outcomes].count(Verdict.REJECTED) == 1
    kept = [each.metrics.get("n") for each in house.database.readings.values()]
    assert sorted(each for each in kept if each is not None) == [0, 1, 2, 4, 5]


async def test_what_a_process_stored_and_did_not_commit_is_recognised_after_it(house: House) -> None:
    house.database.taken_over = True
    lost = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": 1})]))
    await until(house.path.died.done)
    await house.stop()
    house.database.taken_over = False
    assert stored(house) == [1]
    assert not lost.done()
    await house.start()
    house.clock.advance(2)
    outcomes = await house.send(house.message(fields={"seq": 1}), house.message(fields={"seq": 2}))
    assert {each.verdict for each in outcomes} == {Verdict.COMMITTED}
    assert stored(house) == [1, 2]
    house.clock.advance(LOOK_BACK_US / 1e6)
    assert not house.path.lanes[0].leftovers, "nobody looks for ever"


async def test_a_refusal_of_nothing_is_the_stores_bug_and_costs_one_message(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = MemoryLane.commit

    async def odd(self: MemoryLane, writes: WriteSet) -> None:
        if any("odd" in each.metrics for each in writes.readings):
            raise ReadingsRefused({})
        await commit(self, writes)

    monkeypatch.setattr(MemoryLane, "commit", odd)
    outcomes = await house.send(house.message(fields={"metrics": {"odd": 1}}), house.message(fields={"seq": 2}))
    assert [each.reason for each in outcomes] == [Reason.INGEST_EXCEPTION, None]


def test_a_store_that_may_be_slow_is_waited_for_by_more_lanes() -> None:
    assert [PipelineConfig().lanes_for(readings_first=first) for first in (False, True)] == [4, 16]
    assert PipelineConfig(lanes=2).lanes_for(readings_first=True) == 2


async def test_the_reason_of_an_outage_can_be_read(house: House) -> None:
    house.database.down = True
    waiting = asyncio.ensure_future(house.intake.submit([house.message()]))
    await until(lambda: house.path.not_ready_because() == ["down"])
    house.database.down = False
    await asyncio.wait_for(waiting, 10)
    assert house.path.not_ready_because() == []
