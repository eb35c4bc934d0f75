"""The second integration of a route, in PostgreSQL and in the in-memory twin."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from pulse_core.outbox import OpenBreaker
from pulse_core.records import DeliveryStatus
from support.claiming import NOW, claim, ids, record
from support.outbox import Outbox, S, promise

if TYPE_CHECKING:
    from pulse_core.outbox import ClaimedDelivery, StoredIntegration
    from pulse_core.records import Delivery
    from support.outbox import Made

DEAD, DELIVERED, RETRYING = DeliveryStatus.DEAD, DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING


class Line:
    """A route with two integrations, and one alert of it."""

    def __init__(
        self, outbox: Outbox, first: StoredIntegration, second: StoredIntegration, route_id: uuid.UUID
    ) -> None:
        self.outbox = outbox
        self.first = first
        self.second = second
        self.route_id = route_id
        self.alert_id = uuid.uuid4()

    async def promise(self, event: str = "OPEN") -> Delivery:
        return await promise(self.outbox, self.first, event=event, alert_id=self.alert_id, route_id=self.route_id)

    async def sending(self, delivery: Delivery, now_us: int = NOW) -> ClaimedDelivery:
        (claimed,) = (await claim(self.outbox, now_us=now_us)).deliveries
        assert claimed.delivery_id == delivery.delivery_id
        return claimed

    async def stand_in(self, delivery: Delivery) -> Made:
        (made,) = await self.outbox.caused(delivery)
        assert (made.integration_id, made.cause, made.event) == (
            self.second.integration_id,
            "fallback",
            str(delivery.event),
        )
        assert made.told_id == str(made.delivery_id), "the receiver is told this delivery's own id"
        return made

    async def open_breaker(
        self, integration: StoredIntegration, since_us: int = NOW, probe_us: int = NOW + 86_400 * S
    ) -> None:
        key = integration.tenant_id, integration.integration_id
        row = OpenBreaker(*key, since_us, probe_us, 5, "no")
        await self.outbox.store.record("w1", [], now_us=since_us, breakers={key: row})


@pytest.fixture
async def line(outbox: Outbox) -> Line:
    first, second = await outbox.integrate(), await outbox.integrate()
    return Line(outbox, first, second, await outbox.route(first, second, after_s=600))


async def test_what_is_dead_goes_to_the_second_at_once(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await record(outbox, await line.sending(opening), DEAD)
    made = await line.stand_in(opening)
    assert (made.status, (await outbox.state(opening)).status) == ("PENDING", "DEAD")
    assert ids(await claim(outbox)) == {made.delivery_id}


async def test_what_is_tried_again_does_not(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await record(outbox, await line.sending(opening), RETRYING, due_us=NOW + S)
    assert await outbox.caused(opening) == []


async def test_a_route_without_a_second_has_none(outbox: Outbox) -> None:
    opening = await promise(outbox, await outbox.integrate())
    (claimed,) = (await claim(outbox)).deliveries
    await record(outbox, claimed, DEAD)
    assert await outbox.caused(opening) == []


async def test_a_second_that_is_disabled_is_not_used(outbox: Outbox) -> None:
    first, second = await outbox.integrate(), await outbox.integrate(enabled=False)
    line = Line(outbox, first, second, await outbox.route(first, second))
    opening = await line.promise()
    await record(outbox, await line.sending(opening), DEAD)
    assert await outbox.caused(opening) == []


async def test_what_stands_in_has_no_second_itself(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await record(outbox, await line.sending(opening), DEAD)
    made = await line.stand_in(opening)
    (claimed,) = (await claim(outbox)).deliveries
    await record(outbox, claimed, DEAD)
    assert [one.delivery_id for one in await outbox.caused(opening)] == [made.delivery_id]


async def test_a_breaker_that_is_open_for_long_enough_hands_over(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await line.open_breaker(line.first)
    assert await outbox.store.hand_over(now_us=NOW + 599 * S) == 0
    assert await outbox.store.hand_over(now_us=NOW + 600 * S) == 1
    assert await outbox.store.hand_over(now_us=NOW + 600 * S) == 0
    made, state = await line.stand_in(opening), await outbox.state(opening)
    assert state.status == "CANCELLED"
    assert str(made.delivery_id) in (state.last_error or "")
    assert ids(await claim(outbox, now_us=NOW + 600 * S)) == {made.delivery_id}


async def test_what_can_be_the_probe_is_not_handed_over_before_it_was_that(line: Line, outbox: Outbox) -> None:
    """Otherwise nothing would ever be tried at the first again, and it would stay out of use for good."""
    await line.open_breaker(line.first, NOW - 7200 * S, probe_us=NOW - 3600 * S)
    opening = await line.promise()
    assert await outbox.store.hand_over(now_us=NOW) == 0
    await record(outbox, await line.sending(opening), RETRYING, due_us=NOW + S)
    await line.open_breaker(line.first, NOW - 7200 * S, probe_us=NOW + 300 * S)
    assert await outbox.store.hand_over(now_us=NOW + 2 * S) == 1
    await line.stand_in(opening)


async def test_what_is_due_later_need_not_wait_for_the_probe(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await record(outbox, await line.sending(opening), RETRYING, due_us=NOW + 1800 * S)
    await line.open_breaker(line.first, NOW, probe_us=NOW + 30 * S)
    assert await outbox.store.hand_over(now_us=NOW + 600 * S) == 1
    await line.stand_in(opening)


async def test_what_is_being_sent_is_not_handed_over(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    claimed = await line.sending(opening)
    await line.open_breaker(line.first)
    assert await outbox.store.hand_over(now_us=NOW + 600 * S) == 0
    await record(outbox, claimed, DELIVERED)
    assert await outbox.caused(opening) == []


async def test_nothing_is_handed_to_one_that_is_broken_too(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await line.open_breaker(line.first)
    await line.open_breaker(line.second)
    assert await outbox.store.hand_over(now_us=NOW + 6000 * S) == 0
    key = line.second.tenant_id, line.second.integration_id
    await outbox.store.record("w1", [], now_us=NOW, breakers={key: None})
    assert await outbox.store.hand_over(now_us=NOW + 6000 * S) == 1
    await line.stand_in(opening)


async def test_breakers_are_kept(line: Line, outbox: Outbox) -> None:
    await line.open_breaker(line.first, NOW - 5 * S, NOW + 25 * S)
    assert await outbox.store.breakers() == [
        OpenBreaker("tenant-a", line.first.integration_id, NOW - 5 * S, NOW + 25 * S, 5, "no")
    ]


async def test_closed_follows_open_to_the_second(line: Line, outbox: Outbox) -> None:
    """Though the first would take it by then: it never heard of the alert."""
    opening = await line.promise()
    await record(outbox, await line.sending(opening), DEAD)
    (claimed,) = (await claim(outbox)).deliveries
    await record(outbox, claimed, DELIVERED)
    closing = await line.promise("CLOSED")
    assert not (await claim(outbox)).deliveries, "it is handed over instead"
    made = await line.stand_in(closing)
    assert (await outbox.state(closing)).status == "CANCELLED"
    assert ids(await claim(outbox)) == {made.delivery_id}


async def test_closed_waits_at_the_second_until_open_is_told_there(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await record(outbox, await line.sending(opening), DEAD)
    first_made = await line.stand_in(opening)
    (claimed,) = (await claim(outbox)).deliveries
    await record(outbox, claimed, RETRYING, due_us=NOW + 100 * S)
    closing = await line.promise("CLOSED")
    assert not (await claim(outbox)).deliveries
    await line.stand_in(closing)
    assert not (await claim(outbox)).deliveries, "OPEN is tried again first"
    assert ids(await claim(outbox, now_us=NOW + 100 * S)) == {first_made.delivery_id}


async def test_closed_stays_with_the_first_if_that_was_told_open(line: Line, outbox: Outbox) -> None:
    opening = await line.promise()
    await record(outbox, await line.sending(opening), DELIVERED)
    closing = await line.promise("CLOSED")
    await line.open_breaker(line.first)
    assert await outbox.store.hand_over(now_us=NOW + 6000 * S) == 0
    await record(outbox, await line.sending(closing), DEAD)
    assert await outbox.caused(closing) == []


async def test_open_and_closed_that_wait_behind_a_breaker_are_told_as_one(line: Line, outbox: Outbox) -> None:
    opening, closing = await line.promise(), await line.promise("CLOSED")
    await line.open_breaker(line.first)
    assert await outbox.store.hand_over(now_us=NOW + 600 * S) == 2
    told = await line.stand_in(closing)
    assert ids(await claim(outbox, now_us=NOW + 600 * S)) == {told.delivery_id}
    assert (await line.stand_in(opening)).status == "CANCELLED"


async def test_other_routes_and_tenants_stay_where_they_are(line: Line, outbox: Outbox) -> None:
    theirs = await outbox.integrate("tenant-b")
    plain, foreign = await promise(outbox, line.first), await promise(outbox, theirs)
    await line.open_breaker(line.first)
    assert await outbox.store.hand_over(now_us=NOW + 6000 * S) == 0
    assert [await outbox.caused(each) for each in (plain, foreign)] == [[], []]
