"""Limits: places at an endpoint, workers, channel objects; and several engines side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.delivery import CONTRACT
from pulse_core.delivery.breakers import BreakerRule, Breakers
from pulse_core.delivery.desk import Desk
from support.channels_of_tests import RecordingChannel, channels
from support.delivering import an_engine, became, running
from support.outbox import T0_US, MemoryOutbox, S, make, promise
from support.waiting import until

if TYPE_CHECKING:
    import pytest

    from support.memory import ManualClock

NOON = 0.5


async def test_one_hanging_endpoint_takes_its_own_places_and_nobody_elses(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    hanging = await outbox.integrate("tenant-a", config={"behaviour": "hang", "endpoint": "slow"})
    good = [await outbox.integrate(f"tenant-{i}", config={"endpoint": f"good {i}"}) for i in range(5)]
    await outbox.insert([make(hanging) for _ in range(200)])
    others = [make(integration, due_us=T0_US) for integration in good for _ in range(40)]
    await outbox.insert(others)
    engine = an_engine(outbox, clock, attempt_timeout_s=30, per_endpoint=4, workers=20, leave_within_s=0)
    async with running(engine):
        for delivery in others:
            await became(outbox, delivery, "DELIVERED")
        assert RecordingChannel.most["slow"] == 4
        sending = [row for row in outbox.store.rows.values() if row.status == "SENDING"]
        assert len(sending) <= 4, "no more is claimed than can run"


async def test_a_hanging_endpoint_is_not_looked_after_whenever_somebody_else_answers(
    outbox: MemoryOutbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_turn(_channel: object, notification: Any) -> None:
        await asyncio.sleep(0.02 * (1 + waits.index(notification.delivery_id)))

    waits: list[str] = []
    RecordingChannel.behaviours["in turn"] = in_turn
    hanging = await outbox.integrate(config={"behaviour": "hang", "endpoint": "slow"})
    await outbox.insert([make(hanging) for _ in range(20)])
    several = [await outbox.integrate(config={"behaviour": "in turn", "endpoint": f"good {n}"}) for n in range(30)]
    others = [make(integration) for integration in several]
    waits += [str(delivery.delivery_id) for delivery in others]
    claims, claim = [], outbox.store.claim

    async def counted(*arguments: Any, **options: Any) -> Any:
        claims.append(1)
        return await claim(*arguments, **options)

    monkeypatch.setattr(outbox.store, "claim", counted)
    engine = an_engine(outbox, clock, attempt_timeout_s=30, per_endpoint=4, workers=200, leave_within_s=0)
    async with running(engine):
        await until(lambda: RecordingChannel.most.get("slow") == 4, what="the hanging ones")
        await outbox.insert(others)
        await became(outbox, others[0], "DELIVERED")
        before = len(claims)
        for delivery in others:
            await became(outbox, delivery, "DELIVERED")
        assert len(claims) - before <= 3


async def test_integrations_of_one_endpoint_share_its_places(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async def slowly(*_: object) -> None:
        await asyncio.sleep(0.01)

    RecordingChannel.behaviours["slowly"] = slowly
    several = [await outbox.integrate(config={"behaviour": "slowly", "endpoint": "one"}) for _ in range(6)]
    deliveries = [make(integration) for integration in several for _ in range(10)]
    await outbox.insert(deliveries)
    async with running(an_engine(outbox, clock, per_endpoint=3)):
        for delivery in deliveries:
            await became(outbox, delivery, "DELIVERED")
    assert RecordingChannel.most["one"] == 3
    assert len(RecordingChannel.sent) == 60, "each once"


async def test_workers_bound_what_runs_at_all(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async def slowly(*_: object) -> None:
        await asyncio.sleep(0.01)
        total.append(sum(RecordingChannel.running.values()))

    total: list[int] = []
    RecordingChannel.behaviours["slowly"] = slowly
    deliveries = []
    for number in range(20):
        integration = await outbox.integrate(config={"behaviour": "slowly", "endpoint": f"e{number}"})
        deliveries += [make(integration) for _ in range(5)]
    await outbox.insert(deliveries)
    async with running(an_engine(outbox, clock, workers=7)):
        for delivery in deliveries:
            await became(outbox, delivery, "DELIVERED")
    assert max(total) <= 7


async def test_an_edited_integration_gets_a_new_channel_object(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await outbox.integrate()
    async with running(an_engine(outbox, clock)):
        for edit in range(3):
            outbox.store.integrations[integration.integration_id] = msgspec.structs.replace(
                integration, updated_us=T0_US + edit
            )
            for _ in range(2):
                await became(outbox, await promise(outbox, integration), "DELIVERED")
        assert RecordingChannel.opened == 3
        await until(lambda: RecordingChannel.closed == 2)
    assert RecordingChannel.closed == 3


async def test_only_so_many_channel_objects_are_kept(outbox: MemoryOutbox, clock: ManualClock) -> None:
    async with running(an_engine(outbox, clock, channels(capacity=2))):
        for _ in range(5):
            await became(outbox, await promise(outbox, await outbox.integrate()), "DELIVERED")
        await until(lambda: RecordingChannel.closed == 3)
    assert (RecordingChannel.opened, RecordingChannel.closed) == (5, 5)


async def test_two_engines_share_the_work_and_send_each_once(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integrations = [await outbox.integrate(f"tenant-{i}", config={"endpoint": f"e{i}"}) for i in range(8)]
    deliveries = [make(integration) for integration in integrations for _ in range(50)]
    await outbox.insert(deliveries)
    async with running(an_engine(outbox, clock, workers=20)), running(an_engine(outbox, clock, workers=20)):
        for delivery in deliveries:
            await became(outbox, delivery, "DELIVERED")
    sent = [each.delivery_id for each in RecordingChannel.sent]
    assert len(sent) == len(set(sent)) == 400


async def test_what_waited_too_long_for_its_endpoint_is_not_started(outbox: MemoryOutbox, clock: ManualClock) -> None:
    """Its lease could run out while it is being sent: it goes back untried instead."""
    integration = await outbox.integrate()
    await promise(outbox, integration)
    claim = await outbox.store.claim("w", now_us=T0_US, lease_until_us=T0_US + S, limit=9, per_endpoint=9)
    desk = Desk(
        channels(),
        Breakers(BreakerRule()),
        clock,
        workers=9,
        per_endpoint=9,
        timeout_s=15,
        schedule=CONTRACT,
        random=lambda: 0.5,
        done=lambda _: None,
        changed=lambda _: None,
    )
    desk.accept(claim.deliveries, lease_s=16)
    await asyncio.sleep(0)
    assert (desk.running, desk.free, desk.held, desk.stale, RecordingChannel.sent) == (0, 9, set(), True, [])
