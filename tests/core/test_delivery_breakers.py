"""Breakers: when they open, what passes, and whom they leave alone."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from pulse_core.delivery.breakers import Breaker, BreakerRule, Breakers
from pulse_core.errors import PermanentFailure, TemporaryFailure
from pulse_core.outbox import AttemptOutcome, OpenBreaker
from support.channels_of_tests import RecordingChannel
from support.delivering import an_engine, became, concluded, later, running, status
from support.outbox import T0_US, MemoryOutbox, S, make, promise
from support.waiting import until

if TYPE_CHECKING:
    from pulse_core.outbox import StoredIntegration
    from support.memory import ManualClock

RULE = BreakerRule(failures=3, probe_s=30, longest_s=100)
TEMPORARY, DELIVERED = AttemptOutcome.TEMPORARY, AttemptOutcome.DELIVERED
ONE, OTHER = uuid.uuid4(), uuid.uuid4()


# The machine


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(RULE, "t")
    assert [breaker.failed(T0_US, "no") for _ in range(2)] == [False, False]
    breaker.answered()
    assert [breaker.failed(T0_US, "no") for _ in range(3)] == [False, False, True]
    assert breaker.opened_us == T0_US


def test_a_probe_is_let_through_when_it_is_due_and_no_other_beside_it() -> None:
    breaker = opened()
    assert breaker.room(T0_US + 29 * S) == 0
    assert breaker.room(T0_US + 30 * S) == 1
    breaker.under_way = 1
    assert breaker.room(T0_US + 30 * S) == 0


def test_probes_become_rarer_up_to_a_bound_and_late_answers_do_not_count() -> None:
    breaker, now_us, waits = opened(), T0_US, []
    for _ in range(4):
        assert not breaker.failed(breaker.probe_us - 1, "under way before")
        now_us = breaker.probe_us
        assert breaker.failed(now_us, "still no")
        waits.append((breaker.probe_us - now_us) // S)
    assert waits == [60, 100, 100, 100]
    assert breaker.answered()
    assert not breaker.is_open
    assert [breaker.failed(now_us, "no") for _ in range(3)][-1]
    assert breaker.probe_us == now_us + 30 * S, "the first probe again"


def opened() -> Breaker:
    breaker = Breaker(RULE, "t")
    for _ in range(3):
        breaker.failed(T0_US, "no")
    return breaker


def test_tenants_have_breakers_of_their_own_at_a_shared_endpoint() -> None:
    breakers = Breakers(RULE)
    ours, theirs = breakers.of("t1", "chat", ONE), breakers.of("t2", "chat", OTHER)
    for _ in range(3):
        breakers.ended(ours, TEMPORARY, T0_US, "no")
    assert (ours.is_open, theirs.is_open) == (True, False)
    assert set(breakers.rooms(T0_US)) == {ONE}


def test_every_integration_behind_it_is_told_of() -> None:
    breakers = Breakers(RULE)
    breaker = breakers.of("t", "chat", ONE)
    assert breakers.of("t", "chat", OTHER) is breaker
    for _ in range(3):
        breakers.ended(breaker, TEMPORARY, T0_US, "no")
    row = OpenBreaker("t", ONE, T0_US, T0_US + 30 * S, 3, "no")
    assert breakers.take_changes()["t", ONE] == row
    assert breakers.take_changes() == {}
    rooms = breakers.rooms(T0_US + 30 * S)
    assert rooms[ONE] == rooms[OTHER] == (rooms[ONE][0], 1), "one probe for both: they share a name"
    breakers.ended(breaker, DELIVERED, T0_US, "")
    assert breakers.take_changes() == {("t", ONE): None, ("t", OTHER): None}
    assert breakers.rooms(T0_US) == {}


def test_what_was_open_before_a_restart_is_still_open() -> None:
    breakers = Breakers(RULE)
    breakers.restore([OpenBreaker("t", ONE, T0_US - 600 * S, T0_US + S, 9, "no")])
    assert (breakers.rooms(T0_US)[ONE][1], breakers.rooms(T0_US + S)[ONE][1]) == (0, 1)
    assert breakers.next_probe_us(T0_US) == T0_US + S
    breaker = breakers.of("t", "chat", ONE)
    assert (breaker.opened_us, breaker.failures) == (T0_US - 600 * S, 9)


def test_an_edited_integration_is_tried_at_once() -> None:
    breakers = Breakers(RULE)
    breaker = breakers.of("t", "chat", ONE)
    for _ in range(3):
        breakers.ended(breaker, TEMPORARY, T0_US, "no")
    breakers.take_changes()
    breakers.forget("t", ONE)
    assert (breakers.rooms(T0_US), breakers.take_changes()) == ({}, {("t", ONE): None})
    breakers.of("t", "elsewhere", ONE)
    assert breakers.rooms(T0_US) == {}


def test_breakers_that_are_needed_no_more_are_forgotten() -> None:
    breakers = Breakers(RULE)
    for number in range(100):
        breakers.ended(breakers.of("t", f"e{number}", uuid.uuid4()), DELIVERED, T0_US, "")
    breakers.rooms(T0_US)
    assert (len(breakers._breakers), len(breakers._of)) == (0, 0)


# In the engine


async def failing(*_: object) -> None:
    raise TemporaryFailure("out of order")


async def refusing(*_: object) -> None:
    raise PermanentFailure("404")


def an_engine_with_breakers(outbox: MemoryOutbox, clock: ManualClock, **changes: Any) -> Any:
    return an_engine(outbox, clock, **({"breaker_failures": 3, "per_endpoint": 1} | changes))


async def broken(outbox: MemoryOutbox, tenant_id: str = "tenant-a", **config: Any) -> StoredIntegration:
    RecordingChannel.behaviours["fail"] = failing
    return await outbox.integrate(tenant_id, config={"behaviour": "fail", "endpoint": "bad", **config})


async def test_a_broken_endpoint_is_left_alone_and_its_deliveries_are_not_used_up(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    integration = await broken(outbox)
    deliveries = [make(integration) for _ in range(10)]
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert(deliveries)
        await until(lambda: outbox.store.open)
        tried = [delivery for delivery in deliveries if await status(outbox, delivery) == "RETRYING"]
        assert len(tried) == 3
        (row,) = outbox.store.open.values()
        assert (row.failures, row.last_error, row.opened_us) == (3, "out of order", T0_US)
        later(outbox, clock, 20)
        good = await promise(outbox, await outbox.integrate(), due_us=clock.now_us())
        await became(outbox, good, "DELIVERED")
        assert len(RecordingChannel.sent) == 4, "nothing went to the broken one meanwhile"
        untouched = [delivery for delivery in deliveries if delivery not in tried]
        assert {(await outbox.state(each)).attempts for each in untouched} == {0}


async def test_one_probe_goes_and_when_it_is_answered_everything_goes(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await broken(outbox)
    deliveries = [make(integration) for _ in range(10)]
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert(deliveries)
        await until(lambda: outbox.store.open)
        later(outbox, clock, 31)
        await until(lambda: [row.failures for row in outbox.store.open.values()] == [4])
        assert len(RecordingChannel.sent) == 4
        RecordingChannel.behaviours["fail"] = RecordingChannel.behaviours["deliver"]
        later(outbox, clock, 61)
        for delivery in deliveries:
            await became(outbox, delivery, "DELIVERED")
        assert outbox.store.open == {}


async def test_another_tenant_at_the_same_endpoint_does_not_notice(outbox: MemoryOutbox, clock: ManualClock) -> None:
    bad = await broken(outbox)
    good = await outbox.integrate("tenant-b", config={"endpoint": "bad"})
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert([make(bad) for _ in range(5)])
        await until(lambda: outbox.store.open)
        delivery = await promise(outbox, good)
        await became(outbox, delivery, "DELIVERED")
    assert [row.tenant_id for row in outbox.store.open.values()] == ["tenant-a"]


async def test_a_refusal_is_an_answer(outbox: MemoryOutbox, clock: ManualClock) -> None:
    RecordingChannel.behaviours["refuse"] = refusing
    integration = await outbox.integrate(config={"behaviour": "refuse", "endpoint": "bad"})
    deliveries = [make(integration) for _ in range(6)]
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert(deliveries)
        for delivery in deliveries:
            await became(outbox, delivery, "DEAD")
    assert outbox.store.open == {}


async def test_what_waits_in_line_when_it_opens_is_given_back(outbox: MemoryOutbox, clock: ManualClock) -> None:
    """Claimed ahead for a fast endpoint, which then breaks: not attempted, and not held until its lease ends."""
    first = True

    async def fast_then_broken(*_: object) -> str:
        nonlocal first
        if first:
            first = False
            return "thank you"
        await asyncio.sleep(0.01)
        raise TemporaryFailure("out of order")

    RecordingChannel.behaviours["turning"] = fast_then_broken
    integration = await outbox.integrate(config={"behaviour": "turning", "endpoint": "bad"})
    async with running(an_engine_with_breakers(outbox, clock)):
        await became(outbox, await promise(outbox, integration), "DELIVERED")
        deliveries = [make(integration) for _ in range(30)]
        await outbox.insert(deliveries)
        await until(lambda: outbox.store.open)
        await until(lambda: not any(row.status == "SENDING" for row in outbox.store.rows.values()))
        assert len(RecordingChannel.sent) == 4
        assert sum([(await outbox.state(each)).attempts for each in deliveries]) == 3


async def test_a_test_passes_an_open_breaker_and_closes_it(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await broken(outbox)
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert([make(integration) for _ in range(5)])
        await until(lambda: outbox.store.open)
        failed = await promise(outbox, integration, cause="test")
        await became(outbox, failed, "DEAD")
        RecordingChannel.behaviours["fail"] = RecordingChannel.behaviours["deliver"]
        await became(outbox, await promise(outbox, integration, cause="test"), "DELIVERED")
        await until(lambda: not outbox.store.open)


async def test_a_restart_does_not_hammer_what_is_broken(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await broken(outbox)
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert([make(integration) for _ in range(5)])
        await until(lambda: outbox.store.open)
    sent = len(RecordingChannel.sent)
    async with running(an_engine_with_breakers(outbox, clock)):
        await became(outbox, await promise(outbox, await outbox.integrate()), "DELIVERED")
        assert len(RecordingChannel.sent) == sent + 1
        later(outbox, clock, 31)
        await until(lambda: len(RecordingChannel.sent) == sent + 2)


async def test_the_first_integration_is_used_again_when_it_works_again(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    first, second = await broken(outbox), await outbox.integrate()
    route = await outbox.route(first, second, after_s=60)
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert([make(first, route_id=route) for _ in range(4)])
        await until(lambda: outbox.store.open)
        later(outbox, clock, 61)
        await until(lambda: sum(row.delivery.cause == "fallback" for row in outbox.store.rows.values()) == 4)
        later(outbox, clock, 3600)
        RecordingChannel.behaviours["fail"] = RecordingChannel.behaviours["deliver"]
        delivery = await promise(outbox, first, route_id=route, due_us=clock.now_us())
        await until(lambda: time_goes_on(outbox, clock) and not outbox.store.open, every_s=0.2)
        await became(outbox, delivery, "DELIVERED")


def time_goes_on(outbox: MemoryOutbox, clock: ManualClock) -> bool:
    """A probe that was under way when it began to work again may still have failed: then another is due later."""
    later(outbox, clock, 600)
    return True


async def test_an_edit_that_comes_while_something_is_written_is_written_next(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    integration = await broken(outbox)
    record, writing, go_on = outbox.store.record, asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any, **kwargs: Any) -> None:
        if outbox.store.open:
            writing.set()
            await go_on.wait()
        await record(*args, **kwargs)

    outbox.store.record = slowly  # type: ignore[method-assign]
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert([make(integration) for _ in range(3)])
        await until(lambda: outbox.store.open)
        await promise(outbox, await outbox.integrate())
        await writing.wait()
        outbox.store.edited(integration)
        await until(lambda: not outbox.store._edited)
        go_on.set()
        await until(lambda: not outbox.store.open, what="the breaker of the edited integration to be closed")


async def test_an_edit_is_heard_of_and_tried_at_once(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await broken(outbox)
    deliveries = [make(integration) for _ in range(5)]
    async with running(an_engine_with_breakers(outbox, clock)):
        await outbox.insert(deliveries)
        await until(lambda: outbox.store.open)
        RecordingChannel.behaviours["fail"] = RecordingChannel.behaviours["deliver"]
        outbox.store.edited(integration)
        for delivery in deliveries:
            if not (await outbox.state(delivery)).attempts:
                await became(outbox, delivery, "DELIVERED")
        await until(lambda: not outbox.store.open)


# What else an integration may ask for


async def test_a_test_is_tried_once_and_even_if_the_integration_is_disabled(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    RecordingChannel.behaviours["fail"] = failing
    integration = await outbox.integrate(config={"behaviour": "fail"}, enabled=False)
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, integration, cause="test")
        await became(outbox, delivery, "DEAD")
    (noted,) = await outbox.noted(delivery)
    assert (noted.detail, noted.outcome) == ("out of order", "TEMPORARY")


async def test_a_test_goes_before_all_that_waits(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await outbox.integrate(config={"endpoint": "slow"})
    await outbox.insert([make(integration, due_us=T0_US - S) for _ in range(50)])
    test = await promise(outbox, integration, cause="test")
    async with running(an_engine(outbox, clock, per_endpoint=1)):
        await became(outbox, test, "DELIVERED")
    place = [each.delivery_id for each in RecordingChannel.sent].index(str(test.delivery_id))
    assert place <= 1


async def test_an_integration_may_have_a_schedule_of_its_own(outbox: MemoryOutbox, clock: ManualClock) -> None:
    from pulse_core.schedule import Schedule

    RecordingChannel.behaviours["fail"] = failing
    integration = await outbox.integrate(
        config={"behaviour": "fail"}, retry=Schedule(waits_s=(7, 11), every_s=60, give_up_s=30, jitter=0)
    )
    dues = []
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, integration)
        for attempt in range(1, 5):
            await concluded(outbox, delivery, attempt)
            state = await outbox.state(delivery)
            dues.append((state.due_us - T0_US) // S if state.status == "RETRYING" else state.status)
            later(outbox, clock, (state.due_us - clock.now_us()) / S)
    assert dues == [7, 18, 30, "DEAD"]
