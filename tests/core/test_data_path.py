"""The data path over an in-memory database: what is answered, what is committed, and in which order."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import Credentials, Evaluator, Intake, Judgement, PluginConfig
from pulse_core.config import PipelineConfig
from pulse_core.data_path import DataPath
from pulse_core.errors import Rejected, StoreUnavailable
from pulse_core.records import (
    AlertEvent,
    DeviceKey,
    DeviceStatus,
    Outcome,
    RawMessage,
    Reason,
    Route,
    Verdict,
)
from pulse_core.settings import Settings
from pulse_heartbeat import HeartbeatConfig, HeartbeatEvaluator
from support.memory import ManualClock, MemoryDatabase, MemoryRegistry, MemoryRoutes, MemorySettings, a_device
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = DeviceKey("tenant-a", "dev-1")


class House:
    """A data path, its database and its clock; can be stopped and started again like a process."""

    def __init__(self, **config: Any) -> None:
        self.config = PipelineConfig(**{"lanes": 2, "idle_wait_ms": 0, **config})
        self.clock = ManualClock()
        self.database = MemoryDatabase()
        self.registry = MemoryRegistry(*(a_device(f"dev-{number}") for number in range(1, 6)))
        self.settings = MemorySettings()
        self.routes = MemoryRoutes(
            Route("tenant-a", uuid.uuid4(), uuid.uuid4(), deliver_on=frozenset({"OPEN", "CLOSED"}))
        )
        self.evaluators: list[Evaluator[Any]] = [HeartbeatEvaluator(HeartbeatConfig())]
        self.path: DataPath
        self.intake: Intake

    async def start(self, *, receiving: bool = True) -> None:
        self.path = DataPath(
            self.config,
            registry=self.registry,
            lane_stores=self.database,
            routes=self.routes,
            settings=self.settings,
            evaluators=self.evaluators,
            clock=self.clock,
        )
        await self.path.start()
        self.intake = self.path.intake("test")
        if receiving:
            self.intake.receiving(True)

    async def stop(self) -> None:
        await self.path.stop()

    def message(self, device_id: str = "dev-1", **changes: Any) -> RawMessage:
        fields = changes.pop("fields", {"metrics": {"v": 1}})
        options = {
            "payload": json.dumps({"site_id": "site-1", **fields}).encode(),
            "received_us": self.clock.now_us(),
            "authenticated": True,
            "may_wait": True,
            **changes,
        }
        return RawMessage(tenant_id="tenant-a", device_id=device_id, msg_type="telemetry", source="test", **options)

    async def send(self, *messages: RawMessage) -> list[Outcome]:
        return await asyncio.wait_for(asyncio.ensure_future(self.intake.submit(messages)), 10)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass as it does for a process that runs: in steps, with beats between."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.path.world.ears.beat()
        for lane in self.path.lanes:
            lane._arrived.set()
        for _ in range(20):
            await asyncio.sleep(0)

    def status(self, device_id: str = "dev-1") -> DeviceStatus:
        return self.database.states[DeviceKey("tenant-a", device_id)].status

    def opened(self) -> int:
        return sum(event is AlertEvent.OPEN for event, _, _ in self.database.events)


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


def stranger(house: House, token: str | None = "token", **changes: Any) -> RawMessage:
    return house.message(authenticated=False, may_wait=False, token=token, **changes)


async def test_a_message_that_brings_its_token_is_checked(house: House) -> None:
    reasons = [
        (await house.send(message))[0].reason
        for message in (
            stranger(house),
            stranger(house, "wrong"),
            stranger(house, None),
            stranger(house, None, fields={"provision_token": "token", "seq": 1}),
            stranger(house, device_id="nobody"),
        )
    ]
    assert reasons == [None, Reason.TOKEN_INVALID, Reason.TOKEN_MISSING, None, Reason.UNREGISTERED_DEVICE]


async def test_activate_then_connect_works_before_the_notice_arrives(house: House) -> None:
    house.registry.silent = True
    house.registry.put(a_device("brand-new", token="fresh"))
    assert (await house.send(stranger(house, "fresh", device_id="brand-new")))[0].verdict is Verdict.COMMITTED
    house.registry.put(a_device("dev-2", token="rotated"))
    device = await house.intake.authenticate(Credentials(DeviceKey("tenant-a", "dev-2"), "rotated"))
    assert device.key.device_id == "dev-2"


async def test_guessing_causes_no_flood_of_look_ups(house: House) -> None:
    for number in range(500):
        with pytest.raises(Rejected):
            await house.intake.authenticate(Credentials(DeviceKey("tenant-a", f"guess-{number}"), "x"))
    assert house.registry.look_ups <= 101


async def test_out_of_step_with_the_registry_nobody_new_is_let_in(house: House) -> None:
    credentials = Credentials(KEY, "token")
    await house.intake.authenticate(credentials)
    house.path.directory._out_of_step_since_us = house.clock.now_us()
    await house.intake.authenticate(credentials)
    house.clock.advance(6)
    with pytest.raises(StoreUnavailable):
        await house.intake.authenticate(credentials)


async def test_over_the_rate_limit_http_is_refused_and_a_patient_connection_slowed(house: House) -> None:
    house.settings.settings = Settings(RATE_LIMIT_RPS=1, RATE_LIMIT_BURST=3)
    house.settings.changed.set()
    await until(lambda: house.path.world.settings.RATE_LIMIT_BURST == 3)
    outcomes = await house.send(*(stranger(house, fields={"seq": n}) for n in range(5)))
    assert [one.reason for one in outcomes] == [None, None, None, Reason.RATE_LIMITED, Reason.RATE_LIMITED]
    wrong = await house.send(*(stranger(house, "wrong", device_id="dev-2") for _ in range(5)))
    assert {one.reason for one in wrong} == {Reason.TOKEN_INVALID}
    right = await house.send(*(stranger(house, device_id="dev-2", fields={"seq": n}) for n in range(3)))
    assert {one.reason for one in right} == {None}, "strangers cannot empty a device's bucket"
    assert house.intake.pace(DeviceKey("tenant-a", "dev-3"), 5) == pytest.approx(2.0)


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
