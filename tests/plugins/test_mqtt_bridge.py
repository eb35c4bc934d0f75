"""The bridge against a broker that does what the test says: what becomes of messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import Outcome, Reason, Verdict
from pulse_core.testing.ingesters import body
from pulse_mqtt_bridge.arrivals import Arrival
from pulse_mqtt_bridge.visit import Received
from support.bridging import (
    PUBCOMP,
    PUBREC,
    TOKEN,
    ScriptedBroker,
    bridging,
    scripted_broker,
)
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with scripted_broker() as running:
        yield running


async def test_what_waits_for_room_goes_first_and_in_order(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        bridge.intake.fill(room_for=1)
        for number in range(1, 4):
            broker.publish(body(number), packet_id=number)
        await until(lambda: bridge.intake.turned_away)
        for number in range(4, 7):
            broker.publish(body(number), packet_id=number)
        await asyncio.sleep(0)
        bridge.intake.make_room()
        await until(lambda: len(broker.acks()) == 6)
        assert broker.acks() == [1, 2, 3, 4, 5, 6]
        assert bridge.payloads == [body(number) for number in range(1, 7)]


async def test_one_that_is_to_come_again_holds_back_all_after_it(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        bridge.intake.script.extend([Outcome(Verdict.COMMITTED), Outcome(Verdict.RETRY_LATER)])
        bridge.intake.delay_s = 0.05
        for number in range(1, 8):
            broker.publish(body(number), packet_id=number)
        await until(lambda: len(broker.acks()) == 7)
        assert broker.acks() == list(range(1, 8))
        assert bridge.intake.turned_away == 1


async def test_what_is_sent_again_while_it_is_decided_is_acknowledged_once(broker: ScriptedBroker) -> None:
    """A second PUBACK would be taken for that of the next message with this number, which nobody has committed."""
    async with bridging(broker.port) as bridge:
        bridge.intake.hold()
        broker.publish(body(1), packet_id=7)
        await until(lambda: bridge.intake.pending)
        broker.publish(body(1), packet_id=7, dup=True)
        broker.publish(body(2), packet_id=8)
        await until(lambda: len(bridge.intake.pending) == 2)
        bridge.intake.release()
        await until(lambda: 8 in broker.acks())
        assert broker.acks() == [7, 8]
        assert bridge.payloads == [body(1), body(2)]


async def test_at_qos_2_the_broker_forgets_only_what_is_committed(broker: ScriptedBroker) -> None:
    broker.granted = 2
    async with bridging(broker.port, qos=2) as bridge:
        bridge.intake.hold()
        broker.publish(body(1), qos=2, packet_id=3)
        await until(lambda: bridge.intake.pending)
        await asyncio.sleep(0.1)
        assert broker.acks(PUBREC) == []
        bridge.intake.release()
        await until(lambda: broker.acks(PUBREC))
        broker.release(3)
        await until(lambda: broker.acks(PUBCOMP) == [3])
        broker.publish(body(2), qos=2, packet_id=3)
        await until(lambda: len(bridge.payloads) == 2)


async def test_a_qos_2_message_of_a_lost_connection_is_not_taken_twice(broker: ScriptedBroker) -> None:
    """It has no ts, so nobody else could know."""
    broker.granted = 2
    async with bridging(broker.port, qos=2) as bridge:
        bridge.intake.hold()
        broker.publish(body(1), qos=2, packet_id=3)
        await until(lambda: bridge.intake.pending)
        broker.drop()
        await until(lambda: bridge.intake.receiving_log[-1:] == [False])
        broker.session_present = True
        bridge.intake.release()
        await until(lambda: broker.ready == 2)
        broker.publish(body(1), qos=2, packet_id=3, dup=True)
        await until(lambda: broker.acks(PUBREC) == [3])
        assert bridge.payloads == [body(1)]


@pytest.mark.parametrize("how", ["new session", "not marked as sent before", "another message"])
async def test_a_number_that_means_another_message_now_is_no_reason_to_drop_it(
    broker: ScriptedBroker, how: str
) -> None:
    """A broker that was killed may have forgotten that it has used the number."""
    broker.granted = 2
    async with bridging(broker.port, qos=2) as bridge:
        broker.publish(body(1), qos=2, packet_id=3)
        await until(lambda: broker.acks(PUBREC) == [3])
        broker.session_present = how != "new session"
        broker.drop()
        await until(lambda: broker.ready == 2)
        payload = body(2) if how == "another message" else body(1)
        broker.publish(payload, qos=2, packet_id=3, dup=how != "not marked as sent before")
        await until(lambda: broker.acks(PUBREC) == [3, 3])
        assert bridge.payloads == [body(1), payload]


async def test_what_is_decided_after_the_connection_was_lost_is_not_acknowledged_on_the_next(
    broker: ScriptedBroker,
) -> None:
    """There the number may mean another message."""
    async with bridging(broker.port) as bridge:
        bridge.intake.hold()
        broker.publish(body(1), packet_id=1)
        await until(lambda: bridge.intake.pending)
        broker.drop()
        await until(lambda: bridge.intake.receiving_log[-1:] == [False])
        bridge.intake.release()
        await until(lambda: broker.ready == 2)
        broker.publish(body(2), packet_id=2)
        await until(broker.acks)
        assert broker.acks() == [2]


async def test_topics_that_say_nothing_are_refused_and_acknowledged(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        topics: list[str | bytes] = [
            "somewhere/else",
            "tenant/a b/device/d/telemetry",
            b"tenant/\xff/device/d/telemetry",
            "tenant/tenant-a/device/device-1/gossip",
        ]
        for number, topic in enumerate(topics, 1):
            broker.publish(body(number), topic, packet_id=number)
        await until(lambda: len(broker.acks()) == 4)
        assert [(outcome.reason, message.refused_detail) for message, outcome in bridge.intake.refused] == [
            (Reason.BAD_TOPIC_FORMAT, "somewhere/else"),
            (Reason.BAD_TOPIC_FORMAT, "tenant/a b/device/d/telemetry"),
            (Reason.BAD_TOPIC_FORMAT, "not UTF-8"),
            (Reason.UNKNOWN_MESSAGE_TYPE, ""),
        ]


async def test_without_trust_the_payload_proves_the_device(broker: ScriptedBroker) -> None:
    async with bridging(broker.port, trusted=False) as bridge:
        proven = b'{"site_id":"site-1","seq":1,"provision_token":"%b"}' % TOKEN.encode()
        broker.publish(proven, packet_id=1)
        broker.publish(body(2), packet_id=2)
        broker.publish(proven.replace(b"of-device", b"of-nobody"), packet_id=3)
        await until(lambda: broker.acks() == [1, 2, 3])
        assert bridge.payloads == [proven]
        assert [outcome.reason for _, outcome in bridge.intake.refused] == [Reason.TOKEN_MISSING, Reason.TOKEN_INVALID]


async def test_topics_of_ones_own(broker: ScriptedBroker) -> None:
    async with bridging(
        broker.port, topic="plants/{device_id}/up/#", tenant_id="tenant-a", msg_type="event", share=""
    ) as bridge:
        assert broker.heard[-1][1].endswith(b"\0\x0dplants/+/up/#\x21")
        broker.publish(body(1), "plants/device-1/up/now/and/then", packet_id=1)
        await until(lambda: broker.acks() == [1])
        [message] = bridge.intake.committed
        assert (message.tenant_id, message.device_id, message.msg_type) == ("tenant-a", "device-1", "event")


async def test_what_the_broker_kept_for_whoever_subscribes_is_old_news(broker: ScriptedBroker) -> None:
    """Without a ts of its own it would be taken for a sign of life."""
    async with bridging(broker.port) as bridge:
        broker.publish(body(1), packet_id=1, retain=True)
        broker.publish(body(2), packet_id=2)
        await until(lambda: broker.acks() == [1, 2])
        assert bridge.payloads == [body(2)]


async def test_a_payload_is_held_no_longer_than_it_may_be(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        broker.publish(b"x" * 200_000)
        await until(lambda: broker.acks() == [1])
        [(message, outcome)] = bridge.intake.refused
        assert outcome.reason is Reason.PAYLOAD_TOO_LARGE
        assert len(message.payload) == bridge.intake.max_payload_bytes + 1


@pytest.mark.parametrize(("qos", "refuse", "waits"), [(0, False, False), (1, False, True), (1, True, False)])
async def test_who_may_wait_for_his_rate(broker: ScriptedBroker, qos: int, refuse: bool, waits: bool) -> None:
    async with bridging(broker.port, refuse_over_rate=refuse) as bridge:
        broker.publish(body(1), qos=qos)
        await until(lambda: bridge.intake.committed)
        assert bridge.intake.committed[0].may_wait is waits


async def test_a_flood_without_acknowledgements_is_left_to_the_broker(broker: ScriptedBroker) -> None:
    """QoS 0 knows no limit of its own: what is not read waits in TCP, and nothing that was read is lost."""
    async with bridging(broker.port, max_undecided=50) as bridge:
        bridge.intake.hold()
        for number in range(2000):
            broker.publish(body(number), qos=0)
        await until(lambda: sum(len(one.messages) for one in bridge.intake.pending) > 50)
        await asyncio.sleep(0.3)
        assert sum(len(one.messages) for one in bridge.intake.pending) <= 50 + 100
        bridge.intake.release()
        await until(lambda: len(bridge.payloads) == 2000)
        assert bridge.payloads == [body(number) for number in range(2000)]


def test_received_is_known_by_more_than_its_number() -> None:
    received = Received()
    received.note(1, 99)
    again = Arrival("t", b"", 2, 1, True, False)
    assert received.has(again, 99)
    assert not received.has(again, 98)
    received.forget(1)
    assert not received.has(again, 99)
