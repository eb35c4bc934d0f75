"""Conformance with MQTT 3.1.1, chapters 3.3, 3.6, 4.3 and 4.6: what a device publishes, and how it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import mqtt311 as mqtt
from support.mqtt_device import RESUMED, Device, alive, thrown_out
from support.mqtt_door import BODY
from support.statements import statement311
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.asyncio(loop_scope="module")


def body(number: int) -> bytes:
    """A valid message unlike the others."""
    return b'{"site_id":"site-1","seq":%d}' % number


@statement311("MQTT-3.3.1-2", "MQTT-4.8.0-1")
async def test_dup_at_qos_0_is_a_violation(device: Device) -> None:
    assert await thrown_out(device, mqtt.publish(device.topic, BODY, 0, dup=True))


@statement311("MQTT-3.3.1-4")
@pytest.mark.parametrize("dup", [False, True])
@pytest.mark.parametrize("retain", [False, True])
async def test_qos_3_is_a_violation(device: Device, dup: bool, retain: bool) -> None:
    assert await thrown_out(device, mqtt.publish(device.topic, BODY, 3, dup=dup, retain=retain))


@statement311("MQTT-3.3.1-11", "MQTT-3.3.1-12")
async def test_nothing_is_retained(device: Device) -> None:
    """Not with the flag and not without it, not of a message and not of an empty one: no later subscriber gets it."""
    async with device.online() as client:
        client.write(
            mqtt.publish(device.topic, body(1), 1, 1, retain=True)
            + mqtt.publish(device.topic, b"", 1, 2, retain=True)
            + mqtt.publish(device.topic, body(3), 1, 3)
            + mqtt.publish(device.topic, body(4), 0, retain=True)
            + mqtt.publish(device.topic, body(5), 2, 5, retain=True)
        )
        answers = [await client.read() for _ in range(4)]
        assert answers == [mqtt.puback(1), mqtt.puback(2), mqtt.puback(3), mqtt.pubrec(5)]
        client.write(mqtt.subscribe(9, (device.prefix + "#", 1)))
        assert await client.read() == b"\x90\3\0\x09\1"
        assert await client.silent()
        assert await alive(client)
        assert [message.payload for message in device.committed] == [body(1), body(3), body(4), body(5)]
    async with device.online("another") as client:
        client.write(mqtt.subscribe(9, (device.prefix + "+", 1)))
        assert await client.read() == b"\x90\3\0\x09\1"
        assert await alive(client)


@statement311("MQTT-3.3.2-1", "MQTT-3.3.2-2", "MQTT-4.7.1-1", "MQTT-4.7.3-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_topic_that_is_none(device: Device, qos: int) -> None:
    for topic in ("", "#", "+", "a/#", device.prefix + "+", device.prefix + "#", device.prefix + "tele+metry"):
        assert await thrown_out(device, mqtt.publish(topic, BODY, qos)), topic


@statement311("MQTT-4.7.3-3")
async def test_the_longest_topic(device: Device) -> None:
    """It has two bytes for its length, so that none can be longer."""
    longest = device.prefix + "x" * (65_535 - len(device.prefix))
    async with device.online() as client:
        client.write(mqtt.publish(longest, BODY, 1, 1) + mqtt.subscribe(2, (device.prefix + "#", 0)))
        assert {await client.read(), await client.read()} == {mqtt.puback(1), b"\x90\3\0\2\0"}
        client.write(mqtt.subscribe(3, (longest, 1), (device.prefix + "a", 1)))
        answer = await client.read()
        assert answer in (b"\x90\4\0\3\1\1", b"\x90\4\0\3\x80\1")


@statement311("MQTT-3.3.4-1", "MQTT-4.3.2-2", "MQTT-4.3.3-2")
async def test_each_quality_of_service_has_its_answer(device: Device) -> None:
    async with device.online() as client:
        client.write(mqtt.publish(device.topic, body(0), 0))
        await until(lambda: device.committed)
        assert await alive(client)
        client.write(mqtt.publish(device.topic, body(1), 1, 0x0102))
        assert await client.read() == b"\x40\2\1\2"
        client.write(mqtt.publish(device.topic, body(2), 2, 0x0102))
        assert await client.read() == b"\x50\2\1\2"
        client.write(mqtt.pubrel(0x0102))
        assert await client.read() == b"\x70\2\1\2"
        assert [message.payload for message in device.committed] == [body(0), body(1), body(2)]


@statement311("MQTT-4.3.2-2", "MQTT-4.3.3-2")
@pytest.mark.parametrize("qos", [1, 2])
async def test_nothing_is_acknowledged_before_it_is_ours(device: Device, qos: int) -> None:
    intake = device.here.intake
    async with device.online() as client:
        intake.hold()
        client.write(mqtt.publish(device.topic, BODY, qos, 7))
        await until(lambda: intake.pending)
        assert await client.silent()
        assert not device.committed
        intake.release()
        assert await client.read() == (mqtt.puback(7) if qos == 1 else mqtt.pubrec(7))
        assert len(device.committed) == 1


@statement311("MQTT-4.3.2-2")
@pytest.mark.parametrize("dup", [False, True])
async def test_after_puback_the_packet_id_means_a_new_message(device: Device, dup: bool) -> None:
    async with device.online() as client:
        for number in range(3):
            client.write(mqtt.publish(device.topic, body(number), 1, 7, dup=dup))
            assert await client.read() == mqtt.puback(7)
        assert [message.payload for message in device.committed] == [body(number) for number in range(3)]


@statement311("MQTT-4.3.3-2")
@pytest.mark.parametrize("dup", [False, True])
async def test_until_pubrel_a_packet_id_means_one_message(device: Device, dup: bool) -> None:
    async with device.online() as client:
        for _ in range(3):
            client.write(mqtt.publish(device.topic, body(1), 2, 7, dup=dup))
            assert await client.read() == mqtt.pubrec(7)
        client.write(mqtt.publish(device.topic, body(2), 2, 8))
        assert await client.read() == mqtt.pubrec(8)
        client.write(mqtt.pubrel(7))
        assert await client.read() == mqtt.pubcomp(7)
        client.write(mqtt.publish(device.topic, body(3), 2, 7, dup=dup))
        assert await client.read() == mqtt.pubrec(7)
        assert [message.payload for message in device.committed] == [body(1), body(2), body(3)]


@statement311("MQTT-4.3.3-2")
async def test_the_same_packet_id_twice_in_one_piece(device: Device) -> None:
    async with device.online() as client:
        client.write(mqtt.publish(device.topic, body(1), 2, 7) + mqtt.publish(device.topic, body(1), 2, 7, dup=True))
        assert [await client.read(), await client.read()] == [mqtt.pubrec(7)] * 2
        assert [message.payload for message in device.committed] == [body(1)]


@statement311("MQTT-3.3.2-1", "MQTT-3.3.2-2", "MQTT-1.5.3-1")
@pytest.mark.parametrize("rest", [b"#", b"+", b"\xff", b"\0"])
async def test_the_same_packet_id_under_a_topic_that_is_none(device: Device, rest: bytes) -> None:
    async with device.online() as client:
        client.write(mqtt.publish(device.topic, BODY, 2, 7))
        assert await client.read() == mqtt.pubrec(7)
        client.write(mqtt.publish(device.prefix.encode() + rest, BODY, 2, 7, dup=True))
        assert await client.closed() == b""


@statement311("MQTT-3.3.5-2")
async def test_the_same_packet_id_under_a_topic_of_another_device(device: Device) -> None:
    async with device.online() as client:
        client.write(mqtt.publish(device.topic, BODY, 2, 7))
        assert await client.read() == mqtt.pubrec(7)
        client.write(mqtt.publish("tenant/tenant-a/device/device-1/telemetry", BODY, 2, 7, dup=True))
        assert await client.closed() in (b"", mqtt.pubrec(7))
    assert len(device.committed) == 1


@statement311("MQTT-4.3.3-2")
async def test_the_same_packet_id_again_before_it_is_ours(device: Device) -> None:
    """PUBREC waits for the commit, and the message is handed over once."""
    intake = device.here.intake
    async with device.online() as client:
        intake.hold()
        client.write(mqtt.publish(device.topic, body(1), 2, 7))
        await until(lambda: intake.pending)
        client.write(mqtt.publish(device.topic, body(1), 2, 7, dup=True))
        assert await client.silent()
        intake.release()
        assert [await client.read(), await client.read()] == [mqtt.pubrec(7)] * 2
        assert [message.payload for message in device.committed] == [body(1)]


@statement311("MQTT-4.3.3-2", "MQTT-3.3.4-1")
async def test_qos_2_goes_on_over_another_connection(device: Device) -> None:
    """PUBREC is lost with the connection; the device comes back with its session and sends once more."""
    async with device.online(clean=False) as client:
        client.write(mqtt.publish(device.topic, body(1), 2, 7) + mqtt.publish(device.topic, body(2), 2, 8))
        await until(lambda: len(device.committed) == 2)
        client.writer.transport.abort()
    async with device.online(clean=False, answer=RESUMED) as client:
        client.write(mqtt.publish(device.topic, body(1), 2, 7, dup=True))
        assert await client.read() == mqtt.pubrec(7)
        client.write(mqtt.pubrel(7) + mqtt.pubrel(8))
        assert [await client.read(), await client.read()] == [mqtt.pubcomp(7), mqtt.pubcomp(8)]
        client.write(mqtt.publish(device.topic, body(3), 2, 7))
        assert await client.read() == mqtt.pubrec(7)
        assert [message.payload for message in device.committed] == [body(1), body(2), body(3)]


@statement311("MQTT-4.3.3-2")
@pytest.mark.parametrize("packet_id", [1, 65_535])
async def test_pubrel_of_what_we_do_not_know(device: Device, packet_id: int) -> None:
    async with device.online() as client:
        client.write(mqtt.pubrel(packet_id) + mqtt.pubrel(packet_id))
        assert [await client.read(), await client.read()] == [mqtt.pubcomp(packet_id)] * 2
        assert await alive(client)


@pytest.mark.parametrize("acknowledge", [mqtt.puback, mqtt.pubrec, mqtt.pubcomp])
async def test_an_acknowledgement_that_nobody_asked_for(device: Device, acknowledge: Callable[[int], bytes]) -> None:
    """3.1.1 has no word for it; a device that acknowledges too often does no harm."""
    async with device.online() as client:
        client.write(acknowledge(77))
        client.write(mqtt.publish(device.topic, BODY))
        assert await client.read() in (mqtt.puback(1), mqtt.pubrel(77))


@statement311("MQTT-4.6.0-2", "MQTT-4.6.0-3", "MQTT-4.6.0-5")
async def test_acknowledgements_come_in_order_whatever_the_order_of_commits(device: Device) -> None:
    intake = device.here.intake
    async with device.online() as client:
        intake.hold()
        for number in range(1, 9):
            client.write(mqtt.publish(device.topic, body(number), 1 + number % 2, number))
            await until(lambda number=number: sum(len(each.messages) for each in intake.pending) == number)  # type: ignore[misc]
        for pending in reversed(intake.pending.copy()):
            intake.decide(pending)
        intake.release()
        heard = [await client.read() for _ in range(8)]
        assert heard == [mqtt.pubrec(n) if n % 2 else mqtt.puback(n) for n in range(1, 9)]


@statement311("MQTT-4.6.0-2", "MQTT-4.6.0-3", "MQTT-4.6.0-5")
async def test_messages_are_handed_over_in_their_order(device: Device) -> None:
    async with device.online() as client:
        count = 400
        client.write(b"".join(mqtt.publish(device.topic, body(n), n % 3, n) for n in range(1, count + 1)))
        answered = [n for n in range(1, count + 1) if n % 3]
        heard = [await client.read() for _ in answered]
        assert heard == [mqtt.puback(n) if n % 3 == 1 else mqtt.pubrec(n) for n in answered]
        await until(lambda: len(device.committed) == count)
        assert [message.payload for message in device.committed] == [body(n) for n in range(1, count + 1)]


@statement311("MQTT-3.3.5-2")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_outside_its_topics_a_device_is_disconnected(device: Device, qos: int) -> None:
    """What came before is acknowledged, and what comes after is not looked at."""
    for topic in ("tenant/tenant-a/device/device-1/telemetry", "$SYS/x", device.prefix[:-1], "/" + device.topic, "x"):
        async with device.online() as client:
            client.write(mqtt.publish(device.topic, BODY, 1, 5) + mqtt.publish(topic, BODY, qos, 6))
            client.write(mqtt.publish(device.topic, BODY, 1, 7))
            said = await client.closed()
            assert said.startswith(mqtt.puback(5))
            assert said[4:] in (b"", mqtt.puback(6), mqtt.pubrec(6))
    assert len(device.committed) == 5
    assert {reason for _, reason in device.refused} <= {"BAD_TOPIC_FORMAT"}


@statement311("MQTT-3.3.5-2", "MQTT-3.3.4-1")
async def test_a_message_that_is_refused_is_acknowledged_all_the_same(device: Device) -> None:
    wrong = {
        device.topic: b"no JSON",
        device.prefix + "selfie": BODY,
        device.prefix + "a/b": BODY,
        device.prefix: BODY,
        device.prefix + "event": b"",
        device.prefix + "heartbeat": b'{"site_id":"another"}',
    }
    async with device.online() as client:
        for number, (topic, payload) in enumerate(wrong.items(), 1):
            client.write(mqtt.publish(topic, payload, 1, number) + mqtt.publish(topic, payload, 2, 100 + number))
            assert [await client.read(), await client.read()] == [mqtt.puback(number), mqtt.pubrec(100 + number)]
        assert await alive(client)
    assert len(device.refused) == 2 * len(wrong)
    assert not device.committed


@statement311("MQTT-3.12.4-1")
async def test_pings_are_answered_one_by_one_even_while_nothing_is_decided(device: Device) -> None:
    intake = device.here.intake
    async with device.online() as client:
        intake.hold()
        client.write(mqtt.publish(device.topic, BODY) + mqtt.PINGREQ * 3)
        assert [await client.read() for _ in range(3)] == [mqtt.PINGRESP] * 3
        intake.release()
        assert await client.read() == mqtt.puback(1)


async def test_what_comes_after_disconnect_is_not_read(device: Device) -> None:
    """And what came before it is acknowledged."""
    async with device.online() as client:
        client.write(mqtt.publish(device.topic, BODY, 1, 1) + mqtt.DISCONNECT + mqtt.publish(device.topic, BODY, 1, 2))
        assert await client.closed() == mqtt.puback(1)
    assert len(device.committed) == 1
