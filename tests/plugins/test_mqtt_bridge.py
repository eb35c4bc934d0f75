"""The bridge against a broker that does what the test says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import LogCapture

from pulse_core.api import Outcome, Reason, Verdict
from pulse_core.testing.ingesters import body
from pulse_mqtt_bridge.visit import Received
from pulse_mqtt_bridge.wire import Arrival
from support.bridging import (
    DISCONNECT,
    PINGREQ,
    PUBCOMP,
    PUBREC,
    SUBSCRIBE,
    TOKEN,
    Bridge,
    ScriptedBroker,
    bridging,
    scripted_broker,
)
from support.certificates import Authority
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with scripted_broker() as running:
        yield running


def seqs(bridge: Bridge) -> list[bytes]:
    return [message.payload for message in bridge.intake.committed]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_asks_for_a_session_that_stays_and_says_how_much_it_takes(broker: ScriptedBroker, protocol: str) -> None:
    async with bridging(
        broker.port, protocol=protocol, user="pulse", password="secret", session_expiry_s=3600, max_undecided=321
    ):
        [login] = broker.logins
        assert login[7] & 0b10 == 0, "clean"
        assert login.endswith(b"\0\x05pulse\0\x06secret")
        assert b"\0\x12opsconductor-pulse" in login
        if protocol == "5":
            assert b"\x11" + (3600).to_bytes(4, "big") in login
            assert b"\x21" + (321).to_bytes(2, "big") in login
        [subscription] = [sent for kind, sent in broker.heard if kind == SUBSCRIBE]
        topic_filter = b"$share/pulse/tenant/+/device/+/+"
        head = len(subscription) - len(topic_filter) - 1
        assert subscription[head:-1] == topic_filter
        assert subscription[-1] == (0b10_0001 if protocol == "5" else 1), "QoS 1, and nothing retained"


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
        assert seqs(bridge) == [body(number) for number in range(1, 7)]


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
        assert seqs(bridge) == [body(1), body(2)]


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
        await until(lambda: len(seqs(bridge)) == 2)


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
        assert seqs(bridge) == [body(1)]


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
        assert seqs(bridge) == [body(1), payload]


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


async def test_while_the_broker_is_away_nothing_is_received(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        await broker.stop()
        await until(lambda: bridge.intake.receiving_log == [True, False])
        await broker.start(port=broker.port)
        await bridge.up()
        broker.publish(body(1))
        await until(lambda: broker.acks() == [1])


async def test_the_broker_need_not_be_there_first() -> None:
    broker = ScriptedBroker()
    await broker.start()
    await broker.stop()
    async with bridging(broker.port, wait=False) as bridge:
        await until(lambda: bridge.intake.receiving_log)
        assert not bridge.is_up
        assert bridge.ingester.addresses() == {"mqtt_bridge": f"mqtt://127.0.0.1:{broker.port}"}
        await broker.start(port=broker.port)
        await bridge.up()
    await broker.stop()


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"greeting": 0x87}, "Not authorized"),
        ({"greeting": -1}, "hung up before it answered"),
        ({"greeting": None}, "timed out"),
        ({"granted": 0x87}, "refuses the subscription ($share/pulse/tenant/+/device/+/+: Not authorized)"),
        ({"granted": 0x9E}, "Shared subscription not supported"),
    ],
)
async def test_a_refusal_is_told_and_tried_again(broker: ScriptedBroker, trouble: dict[str, Any], told: str) -> None:
    vars(broker).update(trouble)
    heard = LogCapture()
    log = structlog.wrap_logger(None, processors=[heard])
    async with bridging(broker.port, wait=False, log=log, connect_timeout_s=0.5) as bridge:
        await until(lambda: broker.connections > 2)
        assert True not in bridge.intake.receiving_log
        broker.greeting, broker.granted = 0, 1
        await bridge.up()
    errors = [entry for entry in heard.entries if entry["log_level"] == "error"]
    assert len(errors) == 1, "told once, not at every attempt"
    assert told in errors[0]["reason"]


async def test_a_lower_qos_than_asked_for_is_told(broker: ScriptedBroker) -> None:
    broker.granted = 0
    heard = LogCapture()
    async with bridging(broker.port, log=structlog.wrap_logger(None, processors=[heard])):
        pass
    assert {"granted": 0, "wanted": 1}.items() <= next(
        entry.items() for entry in heard.entries if entry["event"] == "bridge.lower_qos"
    )


@pytest.mark.parametrize(
    "nonsense", [b"\xf0\x00", b"\x32\x03\x00\x09a", b"\x90\xff\xff\xff\xff\x01", b"\x32\x05\0\1a\0\0"]
)
async def test_nonsense_costs_a_connection_and_no_more(broker: ScriptedBroker, nonsense: bytes) -> None:
    async with bridging(broker.port) as bridge:
        broker.publish(body(1), packet_id=1)
        await until(lambda: broker.acks() == [1])
        broker.write(nonsense)
        if nonsense[:1] == b"\x32":
            broker.drop()
        await until(lambda: broker.ready == 2)
        await bridge.up()
        broker.publish(body(2), packet_id=1)
        await until(lambda: len(seqs(bridge)) == 2)


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
        assert seqs(bridge) == [proven]
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
        assert seqs(bridge) == [body(2)]


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
        await until(lambda: len(seqs(bridge)) == 2000)
        assert seqs(bridge) == [body(number) for number in range(2000)]


async def test_leaves_with_a_word_and_what_is_undecided_stays_the_brokers(broker: ScriptedBroker) -> None:
    async with bridging(broker.port, drain_timeout_s=0.5) as bridge:
        broker.publish(body(1), packet_id=1)
        await until(lambda: bridge.intake.committed)
        bridge.intake.hold()
        broker.publish(body(2), packet_id=2)
        await until(lambda: bridge.intake.pending)
        await bridge.stop()
        await until(lambda: broker.heard[-1][0] == DISCONNECT)
        assert broker.acks() == [1]
        assert broker.heard[-1][1] == b"", "the session stays as it was agreed"


async def test_leaves_in_time_a_broker_that_does_not_listen(broker: ScriptedBroker) -> None:
    broker.greeting = None
    async with bridging(broker.port, wait=False) as bridge:
        await until(lambda: broker.logins)
        async with asyncio.timeout(5):
            await bridge.stop()


async def test_a_broker_that_is_silent_for_too_long_is_left(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its minutes cannot be waited for, so the clock is moved on."""
    broker.deaf = True
    ahead_s = 0.0
    monkeypatch.setattr("paho.mqtt.client.time_func", lambda: time.monotonic() + ahead_s)
    async with bridging(broker.port, keepalive_s=300):
        ahead_s += 301
        await until(lambda: broker.heard[-1][0] == PINGREQ)
        ahead_s += 301
        await until(lambda: broker.connections == 2)


async def test_a_failing_intake_is_told_and_costs_a_connection(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridging(broker.port) as bridge:

        def broken(_messages: object) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr(bridge.intake, "submit", broken)
        broker.publish(body(1))
        await until(lambda: broker.connections > 1)
        monkeypatch.undo()
        await bridge.up()
        broker.publish(body(1), dup=True)
        await until(lambda: broker.acks() == [1])


async def test_over_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        scripted_broker(authority.server("localhost")) as broker,
        bridging(broker.port, urls=(f"mqtts://localhost:{broker.port}",), ca_file=authority.file()) as bridge,
    ):
        for number in range(1, 201):
            broker.publish(body(number), packet_id=number)
        await until(lambda: len(broker.acks()) == 200)
        assert len(seqs(bridge)) == 200


async def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    heard = LogCapture()
    async with (
        scripted_broker(authority.server("elsewhere.example")) as broker,
        bridging(
            broker.port,
            wait=False,
            log=structlog.wrap_logger(None, processors=[heard]),
            urls=(f"mqtts://localhost:{broker.port}",),
            ca_file=authority.file(),
        ),
    ):
        await until(lambda: heard.entries)
        assert "the certificate is not accepted" in heard.entries[0]["reason"]
        assert broker.logins == []


async def test_the_next_node_of_a_cluster_is_tried() -> None:
    async with scripted_broker() as gone, scripted_broker() as there:
        await gone.stop()
        urls = (f"mqtt://127.0.0.1:{gone.port}", f"mqtt://127.0.0.1:{there.port}")
        async with bridging(0, urls=urls):
            assert there.ready == 1


def test_received_is_known_by_more_than_its_number() -> None:
    received = Received()
    received.note(1, 99)
    again = Arrival("t", b"", 2, 1, True, False)
    assert received.has(again, 99)
    assert not received.has(again, 98)
    received.forget(1)
    assert not received.has(again, 99)


async def test_lives_through_a_flicker(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        for turn in (1, 2, 3):
            broker.publish(body(turn), packet_id=turn)
            await until(lambda turn=turn: broker.acks()[-1:] == [turn])  # type: ignore[misc]  # its default
            broker.drop()
            await until(lambda turn=turn: broker.ready == turn + 1)  # type: ignore[misc]
        assert seqs(bridge) == [body(turn) for turn in (1, 2, 3)]
