"""The delivery store's promises, kept by PostgreSQL and by the in-memory twin alike."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from pulse_core.outbox import Attempt, AttemptOutcome, ClaimRoom
from pulse_core.records import DeliveryStatus, Notification
from support.outbox import T0_US, Outbox, S, promise

if TYPE_CHECKING:
    import uuid

from support.claiming import LEASE_US, NOW, claim, fill, record


async def test_a_claim_brings_the_delivery_with_its_integration_and_leases_it(outbox: Outbox) -> None:
    integration = await outbox.integrate(config={"url": "https://x"}, secrets=b"sealed", updated_us=T0_US + 123_457)
    delivery = await promise(outbox, integration)

    claimed = await claim(outbox)

    (one,) = claimed.deliveries
    assert one.integration == integration
    assert (one.attempt, one.first_attempt_us, one.claimed_us) == (1, NOW, NOW)
    assert (one.event, one.cause) == ("OPEN", "alert")
    decoded = msgspec.json.decode(one.notification_json, type=Notification)
    assert decoded == delivery.notification
    state = await outbox.state(delivery)
    assert (state.status, state.leased_by, state.lease_until_us) == ("SENDING", "w1", NOW + LEASE_US)
    assert not (await claim(outbox, "w2")).deliveries, "leased: nobody else gets it"
    assert not claimed.more


async def test_what_is_not_due_is_left_alone_and_told_when_it_will_be(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    await promise(outbox, integration, due_us=NOW + 5 * S)
    assert not (await claim(outbox)).deliveries
    assert await outbox.store.next_due_us("w1", now_us=NOW) == NOW + 5 * S
    assert len((await claim(outbox, now_us=NOW + 5 * S)).deliveries) == 1


async def test_nothing_waiting_means_no_next_due(outbox: Outbox) -> None:
    assert await outbox.store.next_due_us("w1", now_us=NOW) is None


async def test_the_outcome_and_the_attempt_are_recorded_together(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    delivery = await promise(outbox, integration)
    (first,) = (await claim(outbox)).deliveries
    await record(outbox, first, DeliveryStatus.RETRYING, due_us=NOW + 5 * S, detail="refused")

    state = await outbox.state(delivery)
    assert (state.status, state.due_us, state.last_error) == ("RETRYING", NOW + 5 * S, "refused")
    assert (state.leased_by, state.finished_us, state.attempts) == (None, None, 1)
    assert not (await claim(outbox, now_us=NOW + 4 * S)).deliveries

    (second,) = (await claim(outbox, now_us=NOW + 5 * S)).deliveries
    assert (second.attempt, second.first_attempt_us) == (2, NOW)
    await record(outbox, second, DeliveryStatus.DELIVERED, now_us=NOW + 6 * S)

    state = await outbox.state(delivery)
    assert (state.status, state.finished_us, state.last_error) == ("DELIVERED", NOW + 6 * S, None)
    noted = await outbox.noted(delivery)
    assert [(n.attempt, n.outcome, n.detail, n.receipt) for n in noted] == [
        (1, "TEMPORARY", "refused", ""),
        (2, "DELIVERED", "", "got it"),
    ]
    assert (noted[0].started_us, noted[0].duration_ms) == (NOW + 5, 7)


async def test_a_limit_leaves_more(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    await fill(outbox, integration, 5)
    first = await claim(outbox, limit=3)
    assert (len(first.deliveries), first.more) == (3, True)
    assert len((await claim(outbox, limit=3)).deliveries) == 2


async def test_the_oldest_due_goes_first(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    deliveries = await fill(outbox, integration, 5)
    claimed = await claim(outbox, limit=3)
    assert [each.delivery_id for each in claimed.deliveries] == [d.delivery_id for d in deliveries[:3]]


async def test_one_integration_gets_no_more_than_an_endpoint_may_have(outbox: Outbox) -> None:
    crowded, other = await outbox.integrate(), await outbox.integrate()
    await fill(outbox, crowded, 20)
    await fill(outbox, other, 2, first_us=T0_US + 1000)
    claimed = await claim(outbox, per_endpoint=4)
    counts = Counter(each.integration.integration_id for each in claimed.deliveries)
    assert counts == {crowded.integration_id: 4, other.integration_id: 2}


async def test_rooms_say_what_an_endpoint_may_have_and_may_be_shared(outbox: Outbox) -> None:
    full, one, two = [await outbox.integrate() for _ in range(3)]
    for integration in (full, one, two):
        await fill(outbox, integration, 10)
    rooms = (
        ClaimRoom(full.integration_id, "full", 0),
        ClaimRoom(one.integration_id, "shared", 5),
        ClaimRoom(two.integration_id, "shared", 5),
    )
    counts = Counter(e.integration.integration_id for e in (await claim(outbox, rooms=rooms)).deliveries)
    assert counts[full.integration_id] == 0
    assert counts[one.integration_id] + counts[two.integration_id] == 5


async def test_tenants_take_turns(outbox: Outbox) -> None:
    for _ in range(3):
        await fill(outbox, await outbox.integrate("tenant-a"), 10)
    await fill(outbox, await outbox.integrate("tenant-b"), 5, first_us=T0_US + 10_000)
    counts = Counter(each.tenant_id for each in (await claim(outbox, limit=10)).deliveries)
    assert counts == {"tenant-a": 5, "tenant-b": 5}, "though all of tenant-a's are older"


async def test_what_a_tenant_has_under_way_counts_as_turns(outbox: Outbox) -> None:
    await fill(outbox, await outbox.integrate("tenant-a"), 10)
    await fill(outbox, await outbox.integrate("tenant-b"), 10, first_us=T0_US + 10_000)
    claimed = await claim(outbox, limit=4, running={"tenant-a": 50})
    assert {each.tenant_id for each in claimed.deliveries} == {"tenant-b"}


async def test_two_claims_at_once_never_get_the_same(outbox: Outbox) -> None:
    integrations = [await outbox.integrate(f"tenant-{i}") for i in range(5)]
    for integration in integrations:
        await fill(outbox, integration, 40)
    got: list[uuid.UUID] = []

    async def work(worker: str) -> None:
        empty = 0
        while empty < 3:
            claimed = await claim(outbox, worker, limit=7, per_endpoint=5)
            got.extend(each.delivery_id for each in claimed.deliveries)
            empty = 0 if claimed.deliveries or claimed.more else empty + 1

    await asyncio.gather(*(work(f"w{i}") for i in range(4)))
    assert len(got) == len(set(got)) == 200


async def test_a_lost_lease_is_taken_over_once(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    delivery = await promise(outbox, integration)
    await claim(outbox, "dead")
    late = NOW + LEASE_US + 1
    assert await outbox.store.next_due_us("w1", now_us=NOW) == NOW + LEASE_US
    assert not await outbox.store.take_over("w1", now_us=NOW + LEASE_US, lease_until_us=NOW + 2 * LEASE_US, limit=9)
    assert not (await claim(outbox, now_us=late)).deliveries, "a claim does not touch it"

    (lost,) = await outbox.store.take_over("w1", now_us=late, lease_until_us=late + LEASE_US, limit=9)

    assert (lost.delivery_id, lost.attempt, lost.claimed_us) == (delivery.delivery_id, 1, NOW)
    assert not await outbox.store.take_over("w2", now_us=late, lease_until_us=late + LEASE_US, limit=9)
    await record(outbox, lost, DeliveryStatus.RETRYING, due_us=late, now_us=late, detail="lost")
    (again,) = (await claim(outbox, now_us=late)).deliveries
    assert (again.attempt, again.first_attempt_us) == (2, NOW)
    assert [n.detail for n in await outbox.noted(delivery)] == ["lost"]


async def test_ones_own_leases_are_never_taken_over(outbox: Outbox) -> None:
    await promise(outbox, await outbox.integrate())
    await claim(outbox, "w1")
    late = NOW + 10 * LEASE_US
    assert not await outbox.store.take_over("w1", now_us=late, lease_until_us=late + LEASE_US, limit=9)


async def test_a_late_failure_changes_nothing(outbox: Outbox) -> None:
    delivery = await promise(outbox, await outbox.integrate())
    (slow,) = (await claim(outbox, "slow")).deliveries
    late = NOW + LEASE_US + 1
    await outbox.store.take_over("w1", now_us=late, lease_until_us=late + LEASE_US, limit=9)
    before = await outbox.state(delivery)
    await record(outbox, slow, DeliveryStatus.DEAD, worker="slow", now_us=late)
    assert await outbox.state(delivery) == before


async def test_a_late_delivery_counts_while_nobody_tries_again(outbox: Outbox) -> None:
    delivery = await promise(outbox, await outbox.integrate())
    (slow,) = (await claim(outbox, "slow")).deliveries
    late = NOW + LEASE_US + 1
    (lost,) = await outbox.store.take_over("w1", now_us=late, lease_until_us=late + LEASE_US, limit=9)
    await record(outbox, lost, DeliveryStatus.RETRYING, due_us=late + 60 * S, now_us=late)
    await record(outbox, slow, DeliveryStatus.DELIVERED, worker="slow", now_us=late)
    assert (await outbox.state(delivery)).status == "DELIVERED"
    assert len(await outbox.noted(delivery)) == 1


async def test_recording_twice_is_recording_once(outbox: Outbox) -> None:
    delivery = await promise(outbox, await outbox.integrate())
    (one,) = (await claim(outbox)).deliveries
    await record(outbox, one, DeliveryStatus.RETRYING, due_us=NOW + 5 * S)
    before = await outbox.state(delivery)
    await record(outbox, one, DeliveryStatus.RETRYING, due_us=NOW + 9 * S)
    assert await outbox.state(delivery) == before
    assert len(await outbox.noted(delivery)) == 1


async def test_giving_back_undoes_the_claim(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    fresh, kept = await promise(outbox, integration), await promise(outbox, integration)
    before = await outbox.state(fresh)
    await claim(outbox)
    assert await outbox.store.give_back("w1", keep=[kept.delivery_id]) == 1
    assert await outbox.state(fresh) == before
    assert (await outbox.state(kept)).status == "SENDING"
    assert await outbox.store.give_back("w2", keep=[]) == 0

    (again,) = (await claim(outbox)).deliveries
    await record(outbox, again, DeliveryStatus.RETRYING, due_us=NOW)
    before = await outbox.state(fresh)
    await claim(outbox)
    await outbox.store.give_back("w1", keep=[kept.delivery_id])
    assert await outbox.state(fresh) == before, "after an attempt it is RETRYING again, first attempt unchanged"


async def test_disabling_spares_an_integration_that_was_edited_meanwhile(outbox: Outbox) -> None:
    gone, edited = await outbox.integrate(), await outbox.integrate()
    await promise(outbox, gone)
    await promise(outbox, edited)
    for one in (await claim(outbox)).deliveries:
        stale = one.integration.integration_id == edited.integration_id
        seen_us = T0_US - 1 if stale else one.integration.updated_us
        integration = msgspec.structs.replace(one.integration, updated_us=seen_us)
        seen = msgspec.structs.replace(one, integration=integration)
        await record(outbox, seen, DeliveryStatus.DEAD, disable="410 from the receiver")
    after = await outbox.integration(gone)
    assert (after.enabled, after.disabled_reason) == (False, "410 from the receiver")
    assert after.updated_us != gone.updated_us
    assert (await outbox.integration(edited)).enabled


async def test_a_delivery_that_vanished_costs_nobody_else_its_record(outbox: Outbox) -> None:
    removed, other = await outbox.integrate(), await outbox.integrate()
    await promise(outbox, removed)
    kept = await promise(outbox, other)
    claimed = await claim(outbox)
    await outbox.remove(removed)
    attempts = [
        Attempt(
            tenant_id=one.tenant_id,
            delivery_id=one.delivery_id,
            attempt=1,
            started_us=NOW,
            duration_ms=1,
            outcome=AttemptOutcome.DELIVERED,
            status=DeliveryStatus.DELIVERED,
        )
        for one in claimed.deliveries
    ]
    await outbox.store.record("w1", attempts, now_us=NOW)
    assert (await outbox.state(kept)).status == "DELIVERED"


async def test_waking_up_at_once_and_when_deliveries_are_made(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    wakeups = outbox.store.wakeups()
    async with asyncio.timeout(20):
        await anext(wakeups)
        await promise(outbox, integration)
        await anext(wakeups)
    await wakeups.aclose()  # type: ignore[attr-defined]
