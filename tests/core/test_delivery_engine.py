"""The delivery engine over the in-memory outbox: schedule, order, outages, leaving."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.clock import SystemClock
from pulse_core.delivery import DeliveryEngine, Schedule
from pulse_core.errors import EndpointGone, StoreUnavailable, TemporaryFailure
from support.channels_of_tests import RecordingChannel, channels
from support.delivering import an_engine, became, concluded, config, later, running, status
from support.memory_deliveries import lost_connection
from support.outbox import T0_US, MemoryOutbox, S, make, promise
from support.waiting import until

if TYPE_CHECKING:
    from support.memory import ManualClock

NOON = 0.5


async def test_what_is_promised_is_sent_and_recorded(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await outbox.integrate()
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, integration)
        await became(outbox, delivery, "DELIVERED")
    assert RecordingChannel.sent == [delivery.notification]
    (noted,) = await outbox.noted(delivery)
    assert (noted.attempt, noted.outcome, noted.receipt, noted.detail) == (1, "DELIVERED", "thank you", "")
    assert (RecordingChannel.opened, RecordingChannel.closed) == (1, 1)


async def test_a_new_delivery_is_sent_within_milliseconds(outbox: MemoryOutbox) -> None:
    integration = await outbox.integrate()
    async with running(an_engine(outbox, SystemClock())):
        await until(lambda: outbox.store.claims > 0)
        waits = []
        for _ in range(20):
            began = asyncio.get_running_loop().time()
            delivery = make(integration)
            await outbox.insert([delivery])
            await became(outbox, delivery, "DELIVERED", every_s=0.001)
            waits.append(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(0.03)
    assert sorted(waits)[len(waits) // 2] < 0.1, waits


async def test_the_schedule_of_the_contract_then_a_dead_letter(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async def refuse(*_: object) -> None:
        raise TemporaryFailure("connection refused")

    RecordingChannel.behaviours["refuse"] = refuse
    delivery = await promise(outbox, await outbox.integrate(config={"behaviour": "refuse"}))
    row = outbox.store.rows[delivery.delivery_id]
    attempts = 0
    async with running(an_engine(outbox, clock)):
        while row.status != "DEAD":
            attempts += 1
            await concluded(outbox, delivery, attempts)
            clock.time_us = max(clock.time_us, row.due_us)
            outbox.store._notify()
    assert attempts == 14
    assert clock.time_us - T0_US == pytest.approx(72 * 3600 * S, abs=S)
    assert row.last_error == "given up after 14 attempts; the last: connection refused"
    noted = await outbox.noted(delivery)
    waits = [round((after.started_us - before.started_us) / S) for before, after in itertools.pairwise(noted)]
    assert waits[:9] == [5, 30, 120, 600, 1800, 7200, 18000, 36000, 43200]


async def test_retry_after_is_honoured(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async def busy(*_: object) -> None:
        raise TemporaryFailure("503", retry_after_s=90)

    RecordingChannel.behaviours["busy"] = busy
    delivery = await promise(outbox, await outbox.integrate(config={"behaviour": "busy"}))
    async with running(an_engine(outbox, clock)):
        await became(outbox, delivery, "RETRYING")
    assert (await outbox.state(delivery)).due_us - T0_US == pytest.approx(90 * S, abs=S)


async def test_a_retry_comes_when_it_is_due_without_anybody_waking_us(outbox: MemoryOutbox) -> None:
    calls = []

    async def second_time(*_: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.sleep(0.2)  # by now the engine rests, and nothing else is due
            raise TemporaryFailure("not yet")

    RecordingChannel.behaviours["second"] = second_time
    integration = await outbox.integrate(config={"behaviour": "second"})
    engine = DeliveryEngine(
        outbox.store, channels(), config(), clock=SystemClock(), schedule=Schedule(waits_s=(0.2,)), random=lambda: NOON
    )
    async with running(engine):
        delivery = await promise(outbox, integration)
        row = outbox.store.rows[delivery.delivery_id]
        await until(lambda: row.status == "DELIVERED", within_s=8)


async def test_gone_is_dead_and_disables_the_integration(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async def gone(*_: object) -> None:
        raise EndpointGone("HTTP 410 from 192.0.2.1")

    RecordingChannel.behaviours["gone"] = gone
    integration = await outbox.integrate(config={"behaviour": "gone"})
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, integration)
        await became(outbox, delivery, "DEAD")
        after = await outbox.integration(integration)
        assert (after.enabled, after.disabled_reason) == (False, "HTTP 410 from 192.0.2.1")
        next_one = await promise(outbox, integration)
        await became(outbox, next_one, "DEAD")
    assert (await outbox.state(next_one)).last_error == "the integration is disabled: HTTP 410 from 192.0.2.1"
    assert len(RecordingChannel.sent) == 1


async def test_many_deliveries_of_a_disabled_integration_are_all_dead_lettered(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    integration = await outbox.integrate(enabled=False, disabled_reason="switched off")
    await outbox.insert([make(integration) for _ in range(100)])
    async with running(an_engine(outbox, clock)):
        await until(lambda: {row.status for row in outbox.store.rows.values()} == {"DEAD"}, within_s=10)


async def test_open_is_sent_before_closed_even_if_it_takes_three_attempts(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    async def third_time(*_: object) -> None:
        if len(RecordingChannel.sent) < 3:
            raise TemporaryFailure("not yet")

    RecordingChannel.behaviours["third"] = third_time
    integration, alert = await outbox.integrate(config={"behaviour": "third"}), uuid.uuid4()
    async with running(an_engine(outbox, clock)):
        opening = await promise(outbox, integration, alert_id=alert)
        await became(outbox, opening, "RETRYING")
        closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)
        later(outbox, clock, 6)
        await until(lambda: len(RecordingChannel.sent) == 2)
        await concluded(outbox, opening, 2)
        later(outbox, clock, 40)
        await became(outbox, closing, "DELIVERED")
    assert [each.event for each in RecordingChannel.sent] == ["OPEN", "OPEN", "OPEN", "CLOSED"]


async def test_one_notification_tells_both(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    opening = await promise(outbox, integration, alert_id=alert)
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)
    async with running(an_engine(outbox, clock)):
        await became(outbox, closing, "DELIVERED")
    assert (await outbox.state(opening)).status == "CANCELLED"
    assert [each.event for each in RecordingChannel.sent] == ["CLOSED"]


async def test_the_database_going_away_loses_nothing_and_repeats_nothing(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    answered = asyncio.Event()

    async def when_told(*_: object) -> None:
        await answered.wait()

    RecordingChannel.behaviours["when told"] = when_told
    integration = await outbox.integrate(config={"behaviour": "when told", "endpoint": "one"})
    async with running(an_engine(outbox, clock)):
        under_way = await promise(outbox, integration)
        await until(lambda: len(RecordingChannel.sent) == 1)
        lost_connection(outbox.store)
        answered.set()
        await until(lambda: RecordingChannel.running["one"] == 0)
        waiting = make(integration)
        outbox.store.add(waiting)
        outbox.store.down = False
        await became(outbox, under_way, "DELIVERED")
        await became(outbox, waiting, "DELIVERED")
    assert len(RecordingChannel.sent) == 2


async def test_a_claim_whose_commit_was_never_heard_of_is_given_back(outbox: MemoryOutbox, clock: ManualClock) -> None:
    store, answers = outbox.store, list[Any]()
    real = store.claim

    async def deaf(*args: Any, **kwargs: Any) -> Any:
        claim = await real(*args, **kwargs)
        if claim.deliveries and not answers:
            answers.append(claim)
            lost_connection(store)
            store.down = False
            raise StoreUnavailable("connection lost during COMMIT")
        return claim

    store.claim = deaf  # type: ignore[method-assign]
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, await outbox.integrate())
        await became(outbox, delivery, "DELIVERED")
    assert answers
    assert len(RecordingChannel.sent) == 1
    assert (await outbox.state(delivery)).attempts == 1, "it was never tried the first time"


async def test_a_killed_workers_deliveries_are_taken_up(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await outbox.integrate(config={"behaviour": "hang"})
    doomed = an_engine(outbox, clock)
    killed = asyncio.create_task(doomed.run(asyncio.Event()))
    delivery = await promise(outbox, integration)
    await until(lambda: len(RecordingChannel.sent) == 1)
    outbox.store.record = None  # type: ignore[assignment,method-assign]
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    del outbox.store.record
    RecordingChannel.behaviours["hang"] = RecordingChannel.behaviours["deliver"]
    assert await status(outbox, delivery) == "SENDING"

    async with running(an_engine(outbox, clock)):
        clock.advance(31)
        outbox.store._notify()
        await became(outbox, delivery, "DELIVERED")
    lost, sent = await outbox.noted(delivery)
    assert (lost.outcome, "unknown" in lost.detail, lost.started_us) == ("TEMPORARY", True, T0_US)
    assert (sent.attempt, sent.outcome) == (2, "DELIVERED")


async def test_leaving_finishes_what_runs_and_gives_the_rest_back(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async def soon(*_: object) -> None:
        await asyncio.sleep(0.3)

    RecordingChannel.behaviours["soon"] = soon
    quick = await outbox.integrate(config={"behaviour": "soon", "endpoint": "quick"})
    slow = await outbox.integrate("tenant-b", config={"behaviour": "hang", "endpoint": "slow"})
    finishing, hanging = make(quick), make(slow)
    await outbox.insert([finishing, hanging])
    async with running(an_engine(outbox, clock, attempt_timeout_s=60, leave_within_s=4.5)):
        await until(lambda: len(RecordingChannel.sent) == 2)
    assert await status(outbox, finishing) == "DELIVERED"
    state = await outbox.state(hanging)
    assert (state.status, state.leased_by, state.due_us) == ("RETRYING", None, clock.time_us)
    assert "stopped before" in (state.last_error or "")
    assert not any(row.status == "SENDING" for row in outbox.store.rows.values())


async def test_what_only_waits_is_given_back_untried(outbox: MemoryOutbox, clock: ManualClock) -> None:
    both = [await outbox.integrate(config={"behaviour": "hang", "endpoint": "one"}) for _ in range(2)]
    deliveries = [make(integration) for integration in both]
    await outbox.insert(deliveries)
    stopping = asyncio.Event()
    engine = an_engine(outbox, clock, per_endpoint=1, attempt_timeout_s=60, leave_within_s=30)
    task = asyncio.create_task(engine.run(stopping))
    await until(lambda: len(RecordingChannel.sent) == 1)
    rows = [outbox.store.rows[delivery.delivery_id] for delivery in deliveries]
    assert [row.status for row in rows] == ["SENDING", "SENDING"]
    stopping.set()
    await until(lambda: "PENDING" in [row.status for row in rows], what="giving back at once", within_s=5)
    assert sorted((row.status, row.attempts) for row in rows) == [("PENDING", 0), ("SENDING", 1)]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_leaving_without_a_database_takes_no_longer(outbox: MemoryOutbox, clock: ManualClock) -> None:
    delivery = await promise(outbox, await outbox.integrate(config={"behaviour": "hang"}))
    began = asyncio.get_running_loop().time()
    async with running(an_engine(outbox, clock, attempt_timeout_s=60, leave_within_s=3)):
        await until(lambda: len(RecordingChannel.sent) == 1)
        began = asyncio.get_running_loop().time()
        lost_connection(outbox.store)
    assert asyncio.get_running_loop().time() - began < 6
    assert await status(outbox, delivery) == "SENDING", "its lease runs out, and another takes it up"
