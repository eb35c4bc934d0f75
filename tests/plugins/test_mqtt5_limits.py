"""MQTT 5: topic aliases, receive maximum and packet size, as the device may use them (3.2.2.3, 3.3.2.3.4, 4.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import mqtt5_packets as say
from support.mqtt5_device import DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBREC, SUBACK
from support.mqtt5_door import COMMANDS, FOREIGN, OWN, at
from support.mqtt5_packets import Prop
from support.mqtt_door import BODY, TOPIC, door
from support.statements import statement5
from support.waiting import until

if TYPE_CHECKING:
    from support.mqtt5_device import Device5

EVENT = OWN + "event"


def told(device: Device5, ident: int) -> int:
    """A number in CONNACK."""
    assert device.connack is not None
    value = device.connack.get(ident)
    assert isinstance(value, int)
    return value


async def ended_with(device: Device5, packet: bytes) -> int:
    """The code of the DISCONNECT that a packet causes."""
    (said,) = await device.last_words(packet)
    assert said.kind == DISCONNECT
    return said.code


@statement5("MQTT-3.3.2-12", "MQTT-3.2.2-17", "MQTT-3.3.2-9")
async def test_every_alias_up_to_the_maximum() -> None:
    async with door() as here, at(here) as device:
        most = told(device, Prop.ALIAS_MAX)
        assert most >= 1
        topics = {alias: (TOPIC, EVENT)[alias % 2] for alias in range(1, most + 1)}
        for alias, topic in topics.items():
            assert (await device.ask(say.publish(topic, BODY, 1, alias, (Prop.ALIAS, alias)))).code == 0
        for alias in reversed(topics):
            assert (await device.ask(say.publish("", BODY, 2, alias, (Prop.ALIAS, alias)))).code == 0
        kinds = [message.msg_type for message in here.intake.committed]
        assert kinds == [topic.removeprefix(OWN) for topic in (*topics.values(), *reversed(topics.values()))]
        assert await ended_with(device, say.publish(TOPIC, BODY, 1, 5, (Prop.ALIAS, most + 1))) == 0x94


async def test_an_alias_that_is_given_another_topic() -> None:
    async with door() as here, at(here) as device:
        for topic in (TOPIC, "", EVENT, "", TOPIC, ""):
            device.write(say.publish(topic, BODY, 0, 0, (Prop.ALIAS, 1)))
        assert await device.at_peace()
        assert [one.msg_type for one in here.intake.committed] == ["telemetry"] * 2 + ["event"] * 2 + ["telemetry"] * 2


@statement5("MQTT-3.3.2-8", "MQTT-4.7.3-1")
@pytest.mark.parametrize("pairs", [[(Prop.ALIAS, 0)], [(Prop.ALIAS, 1)], [(Prop.ALIAS, 65_535)], []])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_aliases_that_stand_for_nothing(pairs: list[tuple[int, int]], qos: int) -> None:
    async with door() as here, at(here) as device:
        assert await ended_with(device, say.publish("", BODY, qos, 5, *pairs)) in (0x82, 0x94)
        assert here.intake.submissions == []


@statement5("MQTT-3.3.2-8")
async def test_alias_0_beside_a_topic() -> None:
    async with door() as here, at(here) as device:
        assert await ended_with(device, say.publish(TOPIC, BODY, 1, 5, (Prop.ALIAS, 0))) == 0x94


@statement5("MQTT-3.3.2-7")
async def test_the_next_connection_forgets_the_aliases() -> None:
    async with door() as here:
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
            await device.ask(say.publish(TOPIC, BODY, 1, 5, (Prop.ALIAS, 1)))
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100), clean=False) as device:
            assert await ended_with(device, say.publish("", BODY, 1, 5, (Prop.ALIAS, 1))) in (0x82, 0x94)
        async with at(here, "a") as one, at(here, "b") as other:
            await one.ask(say.publish(TOPIC, BODY, 1, 5, (Prop.ALIAS, 1)))
            assert await ended_with(other, say.publish("", BODY, 1, 5, (Prop.ALIAS, 1))) in (0x82, 0x94)


async def test_an_alias_of_a_topic_that_is_refused() -> None:
    """It is set all the same: a refused message is no error of the protocol."""
    async with door() as here, at(here) as device:
        for topic in (FOREIGN, "", ""):
            said = await device.ask(say.publish(topic, BODY, 1, 5, (Prop.ALIAS, 1)))
            assert said.summary == (PUBACK, 5, 0x87)
        assert here.intake.committed == []


async def test_an_alias_of_what_is_no_topic() -> None:
    for topic in ("a/+", b"\xff", "a\0"):
        async with door() as here, at(here) as device:
            assert await ended_with(device, say.publish(topic, BODY, 1, 5, (Prop.ALIAS, 1))) in (0x81, 0x82, 0x90)


@statement5("MQTT-3.3.4-7", "MQTT-4.9.0-3")
@pytest.mark.parametrize("qos", [1, 2])
async def test_more_than_the_receive_maximum(qos: int) -> None:
    async with door() as here, at(here) as device:
        most = told(device, Prop.RECEIVE_MAX)
        here.intake.hold()
        for packet_id in range(1, most + 1):
            device.write(say.publish(TOPIC, BODY, qos, packet_id))
        assert (await device.ask(say.PINGREQ)).kind == PINGRESP
        assert (await device.ask(say.subscribe(5, (COMMANDS, 1)))).kind == SUBACK
        device.write(say.publish(TOPIC, BODY, 0))
        assert await device.at_peace()
        device.write(say.publish(TOPIC, BODY, qos, most + 1))
        said = await device.last_words()
        assert (said[-1].kind, said[-1].code) == (DISCONNECT, 0x93)
        here.intake.release()


@statement5("MQTT-3.3.4-7")
@pytest.mark.parametrize("qos", [1, 2])
async def test_as_many_as_the_receive_maximum_again_and_again(qos: int) -> None:
    async with door() as here, at(here) as device:
        most = told(device, Prop.RECEIVE_MAX)
        for _ in range(3):
            device.write(*(say.publish(TOPIC, BODY, qos, packet_id) for packet_id in range(1, most + 1)))
            said = await device.answers(most)
            assert {one.kind for one in said} == {PUBACK if qos == 1 else PUBREC}
            if qos == 2:
                device.write(*(say.pubrel(packet_id) for packet_id in range(1, most + 1)))
                assert {one.summary[::2] for one in await device.answers(most)} == {(PUBCOMP, 0)}
        assert len(here.intake.committed) == 3 * most


@statement5("MQTT-3.3.4-7")
async def test_a_message_counts_until_it_is_released() -> None:
    """4.9: the quota comes back with PUBACK, PUBCOMP, or a PUBREC that refuses."""
    async with door() as here, at(here) as device:
        most = told(device, Prop.RECEIVE_MAX)
        device.write(*(say.publish(TOPIC, BODY, 2, packet_id) for packet_id in range(1, most)))
        await device.answers(most - 1)
        for _ in range(2):
            assert (await device.ask(say.publish(TOPIC, b"x", 2, most))).code == 0x99
            assert (await device.ask(say.publish(TOPIC, BODY, 1, most))).code == 0
        assert (await device.ask(say.publish(TOPIC, BODY, 2, most))).code == 0
        assert await ended_with(device, say.publish(TOPIC, BODY, 2, most + 1)) == 0x93


@statement5("MQTT-3.3.4-7")
async def test_the_next_connection_begins_with_the_whole_quota() -> None:
    """4.9: it is not carried over. What waits for its release takes none of it."""
    session = (Prop.SESSION_EXPIRY, 100)
    async with door() as here:
        async with at(here, "c", session) as device:
            most = told(device, Prop.RECEIVE_MAX)
            device.write(*(say.publish(TOPIC, BODY, 2, packet_id) for packet_id in range(1, most + 1)))
            await device.answers(most)
        async with at(here, "c", session, clean=False) as device:
            here.intake.hold()
            more = range(1001, 1001 + most)
            device.write(*(say.publish(TOPIC, BODY, 2, packet_id) for packet_id in more))
            assert await device.at_peace()
            assert await ended_with(device, say.publish(TOPIC, BODY, 2, 2000)) == 0x93
            here.intake.release()


@statement5("MQTT-3.2.2-15")
async def test_packets_that_are_too_large() -> None:
    async with door() as here:
        async with at(here) as device:
            most = told(device, Prop.PACKET_MAX)
            rest = most - 1 - len(say.length(most))
            assert await ended_with(device, b"\x32" + say.length(rest + 1)) == 0x95
        async with at(here) as device:
            assert await ended_with(device, b"\x32\xff\xff\xff\x7f") == 0x95
        assert here.intake.submissions == []


@statement5("MQTT-3.2.2-15")
async def test_a_packet_of_just_the_maximum() -> None:
    async with door() as here, at(here) as device:
        most = told(device, Prop.PACKET_MAX)
        head = len(say.publish(TOPIC, bytes(most // 2))) - most // 2
        packet = say.publish(TOPIC, bytes(most - head - 1), 1, 5)
        packet = say.publish(TOPIC, bytes(most - head + most - head - 1 - (len(packet) - head)), 1, 5)
        assert most - 2 <= len(packet) <= most
        said = await device.ask(packet)
        assert said.summary == (PUBACK, 5, 0x97)
        await until(lambda: here.intake.refused)
