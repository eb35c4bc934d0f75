"""The data path over an in-memory database: what is answered, what is committed, and in which order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import Evaluator, Judgement, PluginConfig
from pulse_core.errors import OwnershipLost
from pulse_core.records import (
    AlertEvent,
    DeviceKey,
    DeviceStatus,
    Reason,
    Verdict,
)
from support.house import House
from support.memory import a_device
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = DeviceKey("tenant-a", "dev-1")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.start()
    yield house
    house.database.down = False
    await house.stop()


async def test_a_message_is_answered_after_its_commit_and_not_before(house: House) -> None:
    house.database.hold = asyncio.Event()
    answer = asyncio.ensure_future(house.intake.submit([house.message()]))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not answer.done()
    house.database.hold.set()
    (outcome,) = await asyncio.wait_for(answer, 10)
    assert outcome.verdict is Verdict.COMMITTED
    assert len(house.database.readings) == 1
    assert house.status() is DeviceStatus.ONLINE


async def test_messages_that_arrive_during_a_commit_share_the_next_one(house: House) -> None:
    house.database.hold = asyncio.Event()
    answers = [
        asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": number})])) for number in range(100)
    ]
    await asyncio.sleep(0.01)
    house.database.hold.set()
    await asyncio.wait_for(asyncio.gather(*answers), 10)
    assert len(house.database.readings) == 100
    assert house.database.commits <= 3


async def test_a_bad_message_loses_nothing_else(house: House) -> None:
    outcomes = await house.send(
        house.message(fields={"seq": 1}), house.message(payload=b"nonsense"), house.message(fields={"seq": 2})
    )
    assert [one.verdict for one in outcomes] == [Verdict.COMMITTED, Verdict.REJECTED, Verdict.COMMITTED]
    assert outcomes[1].reason is Reason.MALFORMED_JSON
    assert [reject.reason for reject in house.database.rejects] == [Reason.MALFORMED_JSON]
    assert len(house.database.readings) == 2


async def test_a_redelivery_is_committed_once_whether_in_one_batch_or_after_a_restart(house: House) -> None:
    message = house.message(fields={"ts": house.clock.now_us() // 1000, "seq": 1, "metrics": {"v": 1}})
    assert {one.verdict for one in await house.send(message, message)} == {Verdict.COMMITTED}
    await house.send(message)
    await house.stop()
    await house.start()
    assert (await house.send(message))[0].verdict is Verdict.COMMITTED
    assert len(house.database.readings) == 1


async def test_silence_opens_one_alert_and_the_next_word_closes_it(house: House) -> None:
    await house.send(house.message())
    await house.pass_time(29)
    assert house.opened() == 0
    await house.pass_time(2)
    await until(lambda: house.opened() == 1)
    assert house.status() is DeviceStatus.STALE
    await house.pass_time(60)
    await house.send(house.message(fields={"seq": 2}))
    assert [event for event, _, _ in house.database.events] == [AlertEvent.OPEN, AlertEvent.CLOSED]
    assert [one.event for one in house.database.deliveries.values()] == [AlertEvent.OPEN, AlertEvent.CLOSED]
    assert house.status() is DeviceStatus.ONLINE


async def test_a_redelivered_message_proves_life_and_nothing_else(house: House) -> None:
    message = house.message(fields={"ts": house.clock.now_us() // 1000, "seq": 1})
    await house.send(message)
    await house.pass_time(40)
    await until(lambda: house.opened() == 1)
    await house.send(house.message(fields={"ts": message.received_us // 1000, "seq": 1}))
    assert house.status() is DeviceStatus.ONLINE
    assert len(house.database.readings) == 1


async def test_our_own_outage_opens_no_alert(house: House) -> None:
    await house.send(house.message())
    await house.stop()
    house.clock.advance(3600)
    await house.start()
    await house.pass_time(29)
    await house.send(house.message("dev-2"))
    assert house.opened() == 0
    await house.pass_time(2)
    await until(lambda: house.opened() == 1)


async def test_a_way_in_that_is_down_stops_the_clock_of_its_devices(house: House) -> None:
    await house.send(house.message())
    house.intake.receiving(False)
    await house.pass_time(100)
    assert house.opened() == 0
    house.intake.receiving(True)
    await house.pass_time(29)
    assert house.opened() == 0
    await house.pass_time(2)
    await until(lambda: house.opened() == 1)


async def test_a_process_that_stood_still_blames_no_device(house: House) -> None:
    await house.send(house.message())
    house.clock.advance(3600)
    await house.pass_time(1)
    assert house.opened() == 0
    await house.pass_time(31)
    await until(lambda: house.opened() == 1)


async def test_while_the_database_is_down_nothing_is_answered_and_nobody_is_stale(house: House) -> None:
    await house.send(house.message())
    house.database.down = True
    waiting = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": 9})]))
    await until(lambda: bool(house.path.not_ready_because()))
    assert (await house.send(house.message(fields={"seq": 10})))[0].verdict is Verdict.RETRY_LATER
    await house.pass_time(100)
    assert not waiting.done()
    house.database.down = False
    (outcome,) = await asyncio.wait_for(waiting, 10)
    assert outcome.verdict is Verdict.COMMITTED
    await asyncio.wait_for(house.intake.room(), 10)
    assert len(house.database.readings) == 2
    assert house.opened() == 0


async def test_silence_is_not_judged_while_the_database_is_down(house: House) -> None:
    await house.send(house.message())
    house.database.down = True
    await house.pass_time(40)
    await until(lambda: bool(house.path.not_ready_because()))
    house.database.down = False
    await until(lambda: not house.path.not_ready_because())
    await house.pass_time(20)
    assert house.opened() == 0, "devices had nobody to talk to"
    await house.pass_time(20)
    await until(lambda: house.opened() == 1)


async def test_an_unknown_commit_is_tried_again_and_happens_once(house: House) -> None:
    await house.send(house.message())
    await house.pass_time(29)
    house.database.forget_answer = True
    await house.send(house.message(fields={"seq": 5}))
    assert len(house.database.readings) == 2
    assert house.database.commits == 2


async def test_poison_is_quarantined_and_its_neighbours_commit(house: House) -> None:
    house.database.poison = "yes"
    messages = [house.message(fields={"seq": n, "metrics": {"poison": "yes" if n == 7 else "no"}}) for n in range(20)]
    outcomes = await house.send(*messages)
    assert [n for n, one in enumerate(outcomes) if one.verdict is Verdict.REJECTED] == [7]
    assert outcomes[7].reason is Reason.INGEST_EXCEPTION
    assert len(house.database.readings) == 19
    assert [reject.reason for reject in house.database.rejects] == [Reason.INGEST_EXCEPTION]


async def test_what_cannot_even_be_refused_is_answered_all_the_same(house: House) -> None:
    house.database.refuses_rejects = True
    outcomes = await house.send(house.message(payload=b"nonsense"), house.message())
    assert [one.verdict for one in outcomes] == [Verdict.REJECTED, Verdict.COMMITTED]


async def test_when_another_process_judged_our_devices_the_data_path_dies(house: House) -> None:
    house.database.taken_over = True
    answer = asyncio.ensure_future(house.intake.submit([house.message()]))
    with pytest.raises(OwnershipLost):
        await asyncio.wait_for(house.path.died, 10)
    assert not answer.done(), "nothing is promised from stale memory"
    assert house.path.not_ready_because()


async def test_beyond_the_limits_a_submission_is_put_off() -> None:
    house = House(max_undecided_messages=10)
    await house.start()
    house.database.hold = asyncio.Event()
    first = asyncio.ensure_future(house.intake.submit([house.message(fields={"seq": n}) for n in range(10)]))
    assert (await house.send(house.message()))[0].verdict is Verdict.RETRY_LATER
    room = asyncio.ensure_future(house.intake.room())
    await asyncio.sleep(0.01)
    assert not room.done()
    house.database.hold.set()
    await asyncio.wait_for(room, 10)
    assert len(await first) == 10
    await house.stop()


async def test_a_revoked_device_is_cut_off_and_its_alerts_close(house: House) -> None:
    await house.send(house.message())
    await house.pass_time(40)
    await until(lambda: house.opened() == 1)
    cut_off = asyncio.ensure_future(anext(aiter(house.intake.revocations())))
    await asyncio.sleep(0)
    house.registry.put(a_device(revoked=True))
    assert await asyncio.wait_for(cut_off, 10) == KEY
    await until(lambda: house.status() is DeviceStatus.REVOKED)
    assert house.database.events[-1][0] is AlertEvent.CLOSED
    (outcome,) = await house.send(house.message(fields={"seq": 3}))
    assert outcome.reason is Reason.DEVICE_REVOKED
    await house.pass_time(100)
    assert house.opened() == 1


async def test_a_deleted_device_is_forgotten(house: House) -> None:
    await house.send(house.message())
    house.registry.remove(KEY)
    await until(lambda: all(KEY not in lane.states for lane in house.path.lanes))
    (outcome,) = await house.send(house.message())
    assert outcome.reason is Reason.UNREGISTERED_DEVICE


class Broken(Evaluator[None]):
    """Raises whenever it is asked."""

    name = "broken"
    memory_type = type(None)

    def observe(self, *_: object) -> Judgement:
        raise RuntimeError("mine")

    def wake(self, *_: object) -> Judgement:
        raise RuntimeError("mine")


async def test_a_broken_evaluator_costs_only_itself() -> None:
    house = House()
    house.evaluators.insert(0, Broken(PluginConfig()))
    await house.start()
    assert (await house.send(house.message()))[0].verdict is Verdict.COMMITTED
    await house.pass_time(31)
    await until(lambda: house.opened() == 1)
    await house.stop()


async def test_a_restart_at_any_point_gives_the_same_alerts() -> None:
    """The same script, with and without a restart after every step."""

    async def run(restart: Callable[[House], Any]) -> list[tuple[AlertEvent, str, str]]:
        house = House()
        await house.start()
        for device_id, gap in (("dev-1", 10), ("dev-2", 15), ("dev-1", 31), ("dev-2", 5), ("dev-1", 40)):
            await house.send(house.message(device_id, fields={"seq": gap}))
            await restart(house)
            await house.pass_time(gap)
        await house.pass_time(62)
        await until(lambda: len(house.database.events) >= 3)
        await house.stop()
        return sorted(house.database.events)

    async def leave(_: House) -> None:
        return

    async def restart(house: House) -> None:
        await house.stop()
        await house.start()

    assert {(e, d) for e, d, _ in await run(leave)} == {(e, d) for e, d, _ in await run(restart)}


async def test_stopping_commits_what_was_taken_in() -> None:
    house = House()
    await house.start()
    answer = asyncio.ensure_future(house.intake.submit([house.message()]))
    await house.stop()
    assert (await answer)[0].verdict is Verdict.COMMITTED
    assert house.intake.stopping.is_set()
