"""MQTT 5: what breaks the protocol, how connections end, and AUTH (2.1.3, 3.14, 3.15, 4.12, 4.13)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import Ending
from support import mqtt5_packets as say
from support.mqtt5_device import DISCONNECT, PINGRESP, PUBACK
from support.mqtt5_door import COMMANDS, KEY, OWN, at
from support.mqtt5_packets import Prop
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, door
from support.statements import statement5
from support.waiting import until

if TYPE_CHECKING:
    from support.mqtt5_device import Answer

GOOD_FIRSTS = {0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0}
GOOD_PUBLISHES = {0x30, 0x32, 0x34, 0x3A, 0x3C}


def last(said: list[Answer]) -> int:
    """The code of the one DISCONNECT."""
    assert [one.kind for one in said] == [DISCONNECT]
    return said[0].code


@statement5("MQTT-2.1.3-1", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "MQTT-3.14.1-1", "MQTT-3.15.1-1")
@statement5("MQTT-3.3.1-4", "MQTT-4.13.1-1", "MQTT-4.13.2-1", "MQTT-3.14.4-2")
@pytest.mark.parametrize("kind", range(16))
async def test_every_first_byte(kind: int) -> None:
    """Behind it stands what would be right for that type of packet."""
    bodies = {3: say.publish(TOPIC, BODY, 1, 5), 8: say.subscribe(5, (COMMANDS, 1)), 10: say.unsubscribe(5, COMMANDS)}
    bodies |= dict.fromkeys((4, 5, 6, 7), say.puback(5)) | dict.fromkeys((12, 13, 14), say.PINGREQ)
    bodies |= {1: say.connect(ALIAS, TOKEN), 15: say.auth(0x18, (Prop.AUTH_METHOD, "m"))}
    body = bodies.get(kind, say.PINGREQ)[1:]
    async with door() as here:
        for flags in range(16):
            first = kind << 4 | flags
            if first in GOOD_FIRSTS or first in GOOD_PUBLISHES:
                continue
            async with at(here, "c", (Prop.SESSION_EXPIRY, 10)) as device:
                code = last(await device.last_words(bytes([first]) + body))
                expected = {0x81, 0x82} if kind in (0, 1, 2, 9, 11, 13, 15) else {0x81}
                if kind == 3 and flags & 1:
                    expected |= {0x9A}
                assert code in expected, hex(first)
        assert here.intake.submissions == [] or kind == 3
        assert {ending for *_, endings in here.intake.connections for ending in endings} == {Ending.PROTOCOL_ERROR}


BROKEN = {
    "a remaining length of five bytes": (b"\x32\xff\xff\xff\xff\x01", {0x81, 0x95}),
    "a remaining length longer than need be": (b"\xc0\x80\x00", {0x81}),
    "PINGREQ with a body": (b"\xc0\x01x", {0x81}),
    "QoS 3": (say.publish(TOPIC, BODY, 3), {0x81}),
    "DUP with QoS 0": (say.publish(TOPIC, BODY, 0, dup=True), {0x81}),
    "packet id 0": (say.publish(TOPIC, BODY, 1, 0), {0x81, 0x82}),
    "PUBLISH without a topic": (b"\x30\x00", {0x81}),
    "a topic that is longer than its packet": (say.packet(0x30, b"\xff\xffabc"), {0x81}),
    "properties that are longer than their packet": (say.publish(TOPIC, b"", 1, 5, props=b"\x7f"), {0x81}),
    "a subscription identifier": (say.publish(TOPIC, BODY, 1, 5, (Prop.SUBSCRIPTION_ID, 5)), {0x81, 0x82}),
    "a property that is not for PUBLISH": (say.publish(TOPIC, BODY, 1, 5, (Prop.RECEIVE_MAX, 5)), {0x81, 0x82}),
    "a property twice": (say.publish(TOPIC, BODY, 1, 5, *[(Prop.CONTENT_TYPE, "a")] * 2), {0x82}),
    "payload format 2": (say.publish(TOPIC, BODY, 1, 5, (Prop.PAYLOAD_FORMAT, 2)), {0x81, 0x82}),
    "a response topic with a wildcard": (say.publish(TOPIC, BODY, 1, 5, (Prop.RESPONSE_TOPIC, "a/+")), {0x81, 0x82}),
    "a content type that is no text": (say.publish(TOPIC, BODY, 1, 5, (Prop.CONTENT_TYPE, b"\xff")), {0x81}),
    "NUL in a user property": (say.publish(TOPIC, BODY, 1, 5, (Prop.USER, ("a", "\0"))), {0x81}),
    "PUBACK without a packet id": (b"\x40\x00", {0x81}),
    "PUBACK with packet id 0": (say.puback(0), {0x81, 0x82}),
    "PUBACK with a code that is none": (say.puback(5, 0x92), {0x81, 0x82}),
    "PUBREC with a code that is none": (say.pubrec(5, 0x11), {0x81, 0x82}),
    "PUBREL with a code that is none": (say.pubrel(5, 0x80), {0x81, 0x82}),
    "PUBCOMP with a code that is none": (say.pubcomp(5, 0x91), {0x81, 0x82}),
    "PUBREL with bytes to spare": (say.pubrel(5, 0, b"\0\0"), {0x81}),
    "DISCONNECT with a code that is none": (say.disconnect(0x8B), {0x81, 0x82}),
    "DISCONNECT with a property that is not its own": (say.disconnect(0, (Prop.CONTENT_TYPE, "a")), {0x81, 0x82}),
    "DISCONNECT with a server reference": (say.disconnect(0, (Prop.SERVER_REFERENCE, "a")), {0x81, 0x82}),
    "DISCONNECT with bytes to spare": (say.disconnect(0, props=b"\0\0"), {0x81}),
    "CONNACK": (b"\x20\x03\x00\x00\x00", {0x81, 0x82}),
    "SUBACK": (say.packet(0x90, b"\0\5\0\0"), {0x81, 0x82}),
    "UNSUBACK": (say.packet(0xB0, b"\0\5\0\0"), {0x81, 0x82}),
    "PINGRESP": (b"\xd0\x00", {0x81, 0x82}),
}


@statement5("MQTT-4.13.1-1", "MQTT-1.5.5-1", "MQTT-2.2.1-3", "MQTT-3.3.1-2", "MQTT-3.3.1-4", "MQTT-3.3.4-6")
@statement5("MQTT-3.3.2-14", "MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1", "MQTT-3.7.2-1", "MQTT-3.14.2-1")
@statement5("MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-1.5.7-1", "MQTT-3.3.2-19")
@pytest.mark.parametrize("what", BROKEN)
async def test_what_breaks_the_protocol(what: str) -> None:
    """What came before it is answered, and nothing that comes after it is heard."""
    packet, codes = BROKEN[what]
    async with door() as here, at(here) as device:
        assert (await device.ask(say.publish(TOPIC, BODY, 1, 1))).summary == (PUBACK, 1, 0)
        device.write(say.PINGREQ, packet, say.publish(TOPIC, BODY, 1, 2), say.PINGREQ)
        pong, goodbye = await device.last_words()
        assert (pong.kind, goodbye.kind) == (PINGRESP, DISCONNECT)
        assert goodbye.code in codes
        assert len(here.intake.committed) == 1
        assert here.intake.refused == []
        await until(lambda: here.intake.connections[0][2] == [Ending.PROTOCOL_ERROR])


@statement5("MQTT-3.14.2-2", "MQTT-3.14.2-4", "MQTT-3.14.2-1", "MQTT-3.14.4-1")
async def test_what_a_goodbye_of_the_server_says() -> None:
    async with door() as here, at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
        (told,) = await device.last_words(b"\x00\x00" + say.PINGREQ)
        assert told.code in (0x81, 0x82)
        assert told.get(Prop.REASON)
        assert {name for name, _ in told.properties} == {Prop.REASON}


@statement5("MQTT-3.14.2-3", "MQTT-3.1.2-24")
@pytest.mark.parametrize("longest", [80, 90, 100, 200])
async def test_a_goodbye_is_not_larger_than_the_device_takes(longest: int) -> None:
    async with door() as here:
        for packet in (b"\x00\x00", say.publish("a/#", BODY), say.packet(0x82, b"\0\5\0" + b"\xff\xff")):
            async with at(here, "c", (Prop.PACKET_MAX, longest)) as device:
                said = await device.last_words(packet)
                assert last(said)
                assert len(said[0].raw) <= longest


@statement5("MQTT-3.14.4-1")
async def test_nothing_after_a_goodbye_is_heard() -> None:
    async with door() as here, at(here) as device:
        device.write(say.publish(TOPIC, BODY, 1, 1) + say.disconnect() + say.publish(TOPIC, BODY, 1, 2) + say.PINGREQ)
        assert [one.summary for one in await device.last_words()] == [(PUBACK, 1, 0)]
        assert len(here.intake.committed) == 1
        await until(lambda: here.intake.connections[0][2] == [Ending.CLIENT_CLOSED])


@pytest.mark.parametrize("packet", [say.disconnect(), say.disconnect(0), say.disconnect(4, (Prop.USER, ("a", "b")))])
@statement5("MQTT-3.14.2-1")
async def test_a_goodbye_is_answered_by_closing(packet: bytes) -> None:
    async with door() as here, at(here) as device:
        assert await device.last_words(packet) == []
        await until(lambda: here.intake.connections[0][2] == [Ending.CLIENT_CLOSED])


@statement5("MQTT-4.12.0-7", "MQTT-3.15.2-1", "MQTT-4.13.1-1")
@pytest.mark.parametrize(
    "packet",
    [
        say.auth(),
        say.auth(0x00),
        say.auth(0x18, (Prop.AUTH_METHOD, "m"), (Prop.AUTH_DATA, b"x")),
        say.auth(0x19, (Prop.AUTH_METHOD, "m")),
        say.auth(0x42, (Prop.AUTH_METHOD, "m")),
        say.packet(0xF0, b"\x18\x7f"),
    ],
)
async def test_nobody_authenticates_again(packet: bytes) -> None:
    async with door() as here, at(here) as device:
        assert last(await device.last_words(packet)) in (0x81, 0x82)
        assert len(here.intake.logins) == 1


async def test_the_server_says_why_it_ends() -> None:
    async with door() as here, at(here, "a") as one, at(here, "b") as other:
        here.intake.stopping.set()
        for device in (one, other):
            assert last(await device.last_words()) == 0x8B


async def test_a_server_that_shuts_down_acknowledges_first() -> None:
    async with door() as here, at(here) as device:
        here.intake.hold()
        device.write(say.publish(TOPIC, BODY, 1, 5))
        await until(lambda: here.intake.pending)
        here.intake.stopping.set()
        await until(lambda: here.intake.receiving_log[-1] is False)
        here.intake.release()
        puback, goodbye = await device.last_words()
        assert puback.summary == (PUBACK, 5, 0)
        assert (goodbye.kind, goodbye.code) == (DISCONNECT, 0x8B)


async def test_a_device_that_is_revoked_is_told() -> None:
    async with door() as here, at(here, "a") as one, at(here, "b") as other:
        here.intake.revoke(KEY)
        assert last(await one.last_words()) == 0x98
        assert last(await other.last_words()) == 0x98


async def test_a_reason_string_is_never_too_long_or_no_text() -> None:
    """What is wrong with a topic is told with its beginning."""
    async with door() as here:
        for topic in (OWN + "\U0001f600" * 16_000, OWN + "x" * 300, "\ud7ff" * 300 + "/#"):
            async with at(here) as device:
                told = await device.ask(say.publish(topic, BODY, 1, 5))
                assert len(str(told.get(Prop.REASON) or "")) <= 300


@statement5("MQTT-4.2.0-1")
async def test_packets_in_pieces_and_in_heaps() -> None:
    stream = b"".join(
        (
            say.publish(TOPIC, BODY, 1, 1, (Prop.ALIAS, 1)),
            say.PINGREQ,
            say.publish("", BODY, 2, 2, (Prop.ALIAS, 1)),
            say.subscribe(3, (COMMANDS, 1), props=say.properties((Prop.SUBSCRIPTION_ID, 300))),
            say.publish(TOPIC, BODY, 0),
            say.pubrel(2),
            say.unsubscribe(4, COMMANDS),
        )
    )
    async with door() as here:
        for size in (1, 2, 3, 7, 50, len(stream)):
            async with at(here) as device:
                for start in range(0, len(stream), size):
                    device.write(stream[start : start + size])
                    await asyncio.sleep(0)
                said = await device.answers(6)
                assert sorted(one.kind for one in said) == [4, 5, 7, 9, 11, 13]
                assert await device.at_peace()
        assert len(here.intake.committed) == 18
