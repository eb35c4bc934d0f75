"""The order of what one alert has to tell to one integration, in PostgreSQL and in the in-memory twin."""

from __future__ import annotations

import uuid

import pytest

from pulse_core.records import (
    DeliveryStatus,
)
from support.claiming import NOW, claim, ids, record
from support.outbox import T0_US, Outbox, S, promise


async def test_closed_waits_for_open_and_goes_at_once_when_that_is_delivered(outbox: Outbox) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    opening = await promise(outbox, integration, alert_id=alert)
    (sending,) = (await claim(outbox)).deliveries
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)

    assert not (await claim(outbox)).deliveries, "OPEN is being sent"
    await record(outbox, sending, DeliveryStatus.RETRYING, due_us=NOW + 3600 * S)
    assert not (await claim(outbox, now_us=NOW + 100 * S)).deliveries, "OPEN will be tried again"
    (sending,) = (await claim(outbox, now_us=NOW + 3600 * S)).deliveries
    assert sending.delivery_id == opening.delivery_id

    await record(outbox, sending, DeliveryStatus.DELIVERED, now_us=NOW + 3601 * S)
    assert ids(await claim(outbox, now_us=NOW + 3601 * S)) == {closing.delivery_id}
    assert (await outbox.state(opening)).status == "DELIVERED"


async def test_closed_goes_when_open_is_dead(outbox: Outbox) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    await promise(outbox, integration, alert_id=alert)
    (sending,) = (await claim(outbox)).deliveries
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)
    assert not (await claim(outbox)).deliveries
    await record(outbox, sending, DeliveryStatus.DEAD)
    assert ids(await claim(outbox)) == {closing.delivery_id}


async def test_acknowledged_stands_between(outbox: Outbox) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    await promise(outbox, integration, alert_id=alert)
    (opening,) = (await claim(outbox)).deliveries
    middle = await promise(outbox, integration, event="ACKNOWLEDGED", alert_id=alert)
    assert not (await claim(outbox)).deliveries
    await record(outbox, opening, DeliveryStatus.DELIVERED)
    (acknowledging,) = (await claim(outbox)).deliveries
    assert acknowledging.delivery_id == middle.delivery_id
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)
    assert not (await claim(outbox)).deliveries
    await record(outbox, acknowledging, DeliveryStatus.DELIVERED)
    assert ids(await claim(outbox)) == {closing.delivery_id}


async def test_order_holds_only_within_one_alert_and_integration(outbox: Outbox) -> None:
    integration, other, alert = await outbox.integrate(), await outbox.integrate(), uuid.uuid4()
    await promise(outbox, integration, alert_id=alert)
    await claim(outbox)
    elsewhere = await promise(outbox, other, event="CLOSED", alert_id=alert)
    another = await promise(outbox, integration, event="CLOSED", alert_id=uuid.uuid4())
    assert ids(await claim(outbox)) == {elsewhere.delivery_id, another.delivery_id}


@pytest.mark.parametrize("open_due", [T0_US, T0_US + 1, T0_US - 1])
async def test_closed_tells_what_was_never_said(outbox: Outbox, open_due: int) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    opening = await promise(outbox, integration, alert_id=alert, due_us=open_due)
    acknowledging = await promise(outbox, integration, event="ACKNOWLEDGED", alert_id=alert)
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)

    claimed = [await claim(outbox, limit=1), await claim(outbox)]

    assert set().union(*map(ids, claimed)) == {closing.delivery_id}
    for untold in (opening, acknowledging):
        state = await outbox.state(untold)
        assert (state.status, state.attempts, state.finished_us) == ("CANCELLED", 0, NOW)
        assert str(closing.delivery_id) in (state.last_error or "")


async def test_closed_cancels_an_open_that_is_not_due_yet(outbox: Outbox) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    opening = await promise(outbox, integration, alert_id=alert, due_us=NOW + 3600 * S)
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)
    assert ids(await claim(outbox)) == {closing.delivery_id}
    assert (await outbox.state(opening)).status == "CANCELLED"


async def test_open_goes_first_while_closed_is_not_due(outbox: Outbox) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    opening = await promise(outbox, integration, alert_id=alert)
    await promise(outbox, integration, event="CLOSED", alert_id=alert, due_us=NOW + 60 * S)
    assert ids(await claim(outbox)) == {opening.delivery_id}


async def test_what_was_asked_for_on_top_is_never_cancelled(outbox: Outbox) -> None:
    integration, alert = await outbox.integrate(), uuid.uuid4()
    replayed = await promise(outbox, integration, alert_id=alert, cause="repeat")
    closing = await promise(outbox, integration, event="CLOSED", alert_id=alert)
    assert ids(await claim(outbox)) == {replayed.delivery_id}
    assert (await outbox.state(closing)).status == "PENDING"


async def test_a_test_delivery_has_no_alert_and_no_order(outbox: Outbox) -> None:
    integration = await outbox.integrate()
    sent = [await promise(outbox, integration, cause="test") for _ in range(2)]
    assert ids(await claim(outbox)) == {each.delivery_id for each in sent}
