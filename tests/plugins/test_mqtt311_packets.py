"""Conformance with MQTT 3.1.1, chapters 1, 2, 4.8 and 7: strings, flags, packet ids, lengths, errors."""

from __future__ import annotations

import asyncio

import pytest

from pulse_core.api import Ending
from support import mqtt311 as mqtt
from support.mqtt_corpus import connect_5
from support.mqtt_device import Device, alive, thrown_out, turned_away
from support.mqtt_door import BODY
from support.statements import statement311
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ILL_FORMED = {
    "stray byte": b"\xff",
    "continuation alone": b"\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong NUL": b"\xc0\x80",
    "cut short": b"\xe2\x82",
    "high surrogate": b"\xed\xa0\x80",
    "low surrogate": b"\xed\xbf\xbf",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}


def strings_after_login(device: Device, text: bytes) -> list[bytes]:
    """Every packet that a client may send after login with a string in it."""
    mine = device.prefix.encode() + text
    return [
        mqtt.publish(mine, BODY, 0),
        mqtt.publish(mine, BODY, 1),
        mqtt.publish(mine, BODY, 2),
        mqtt.packet(0x82, b"\0\1" + mqtt.text(mine) + b"\1"),
        mqtt.packet(0x82, b"\0\1" + mqtt.text(device.prefix + "a") + b"\1" + mqtt.text(mine) + b"\1"),
        mqtt.packet(0xA2, b"\0\1" + mqtt.text(mine)),
    ]


def connects(device: Device, text: bytes) -> list[bytes]:
    """Every CONNECT that has this in one of its strings."""
    head = mqtt.text("MQTT") + b"\4"
    rest = mqtt.text(device.alias) + mqtt.text(device.token)
    return [
        mqtt.packet(0x10, head + b"\xc2\0\x3c" + mqtt.text(b"id" + text) + rest),
        mqtt.packet(0x10, head + b"\xc6\0\x3c" + mqtt.text("id") + mqtt.text(b"t" + text) + mqtt.text("will") + rest),
        mqtt.connect(device.alias.encode() + text, device.token),
    ]


@statement311(
    *("MQTT-1.5.3-1", "MQTT-3.1.3-4", "MQTT-3.1.3-10", "MQTT-3.1.3-11"),
    *("MQTT-3.3.2-1", "MQTT-3.8.3-1", "MQTT-3.10.3-1"),
)
@pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED)
async def test_a_string_that_is_not_utf8(device: Device, text: bytes) -> None:
    before = [turned_away(device, one) for one in connects(device, text)]
    assert all(await asyncio.gather(*before))
    after = [await thrown_out(device, one) for one in strings_after_login(device, text)]
    assert after == [True] * len(after)


@statement311("MQTT-1.5.3-2", "MQTT-4.7.3-2")
async def test_a_string_with_nul(device: Device) -> None:
    assert all(await asyncio.gather(*[turned_away(device, one) for one in connects(device, b"\0")]))
    after = [await thrown_out(device, one) for one in strings_after_login(device, b"\0")]
    assert after == [True] * len(after)


@statement311("MQTT-1.5.3-3")
async def test_a_zero_width_no_break_space_is_a_character(device: Device) -> None:
    async with device.online("\ufeffone") as client, device.online("one") as other:
        client.write(mqtt.publish(device.prefix + "\ufefftelemetry", BODY))
        assert await client.read() == mqtt.puback(1)
        client.write(mqtt.subscribe(2, ("\ufeff" + device.prefix + "a", 1), (device.prefix + "\ufeffa", 1)))
        assert await client.read() == b"\x90\4\0\2\x80\1"
        assert [message.msg_type for message, _ in device.refused] == ["\ufefftelemetry"]
        assert await alive(client)
        assert await alive(other)


@statement311("MQTT-2.2.2-1", "MQTT-2.2.2-2")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(4, b"\0\1", id="PUBACK"),
        pytest.param(5, b"\0\1", id="PUBREC"),
        pytest.param(7, b"\0\1", id="PUBCOMP"),
        pytest.param(12, b"", id="PINGREQ"),
    ],
)
async def test_reserved_flags(device: Device, kind: int, body: bytes) -> None:
    wrong = [await thrown_out(device, mqtt.packet(kind << 4 | flags, body)) for flags in range(1, 16)]
    assert wrong == [True] * 15


@statement311("MQTT-2.2.2-1", "MQTT-2.2.2-2", "MQTT-3.1.4-1")
async def test_reserved_flags_of_connect(device: Device) -> None:
    body = device.connect()[1:]
    assert all(await asyncio.gather(*[turned_away(device, bytes([0x10 | flags]) + body) for flags in range(1, 16)]))


@statement311("MQTT-3.14.1-1")
async def test_reserved_flags_of_disconnect_make_it_none(device: Device) -> None:
    for flags in range(1, 16):
        assert await thrown_out(device, mqtt.packet(0xE0 | flags))
    endings = [ended for key, _, ended in device.here.intake.connections if key == device.key]
    assert endings == [[Ending.PROTOCOL_ERROR]] * 15


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(6, b"\0\1", id="PUBREL"),
        pytest.param(8, b"\0\1\0\1a\1", id="SUBSCRIBE"),
        pytest.param(10, b"\0\1\0\1a", id="UNSUBSCRIBE"),
    ],
)
@statement311("MQTT-2.2.2-1", "MQTT-2.2.2-2", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1")
async def test_flags_that_must_be_two(device: Device, kind: int, body: bytes) -> None:
    for flags in (each for each in range(16) if each != 2):
        assert await thrown_out(device, mqtt.packet(kind << 4 | flags, body)), flags
    async with device.online() as client:
        client.write(mqtt.packet(kind << 4 | 2, body))
        assert (await client.read())[0] >> 4 == kind + 1


@statement311("MQTT-2.3.1-1")
async def test_packet_id_zero(device: Device) -> None:
    for packet in (
        mqtt.publish(device.topic, BODY, 1, 0),
        mqtt.publish(device.topic, BODY, 2, 0),
        mqtt.subscribe(0, (device.prefix + "#", 1)),
        mqtt.unsubscribe(0, device.prefix + "#"),
        mqtt.puback(0),
        mqtt.pubrec(0),
        mqtt.pubrel(0),
        mqtt.pubcomp(0),
    ):
        assert await thrown_out(device, packet), packet


@statement311("MQTT-2.3.1-5")
async def test_at_qos_0_the_payload_begins_after_the_topic(device: Device) -> None:
    async with device.online() as client:
        client.write(mqtt.publish(device.topic, BODY, 0) + mqtt.publish(device.topic, b"\0\1" + BODY, 0))
        await until(lambda: device.committed and device.refused)
        assert [message.payload for message in device.committed] == [BODY]
        assert [message.payload for message, _ in device.refused] == [b"\0\1" + BODY]


@statement311("MQTT-2.3.1-6", "MQTT-2.3.1-7")
@pytest.mark.parametrize("packet_id", [1, 0x0100, 0x1234, 0xFFFF])
async def test_answers_bear_the_packet_id(device: Device, packet_id: int) -> None:
    ident = packet_id.to_bytes(2, "big")
    async with device.online() as client:
        for asked, answer in (
            (mqtt.publish(device.topic, BODY, 1, packet_id), b"\x40\2" + ident),
            (mqtt.publish(device.topic, BODY, 2, packet_id), b"\x50\2" + ident),
            (mqtt.pubrel(packet_id), b"\x70\2" + ident),
            (mqtt.subscribe(packet_id, (device.prefix + "#", 1)), b"\x90\3" + ident + b"\1"),
            (mqtt.unsubscribe(packet_id, device.prefix + "#"), b"\xb0\2" + ident),
        ):
            client.write(asked)
            assert await client.read() == answer


async def test_a_packet_id_in_use_by_another_kind_of_packet(device: Device) -> None:
    async with device.online() as client:
        client.write(
            mqtt.publish(device.topic, BODY, 2, 7)
            + mqtt.subscribe(7, (device.prefix + "#", 0))
            + mqtt.unsubscribe(7, device.prefix + "#")
        )
        kinds = {(await client.read())[0] for _ in range(3)}
        assert kinds == {0x50, 0x90, 0xB0}


@statement311("MQTT-4.8.0-1")
@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"\x00\x00", id="type 0"),
        pytest.param(b"\x20\x02\x00\x00", id="CONNACK"),
        pytest.param(b"\x90\x03\x00\x01\x00", id="SUBACK"),
        pytest.param(b"\xb0\x02\x00\x01", id="UNSUBACK"),
        pytest.param(b"\xd0\x00", id="PINGRESP"),
        pytest.param(b"\xf0\x00", id="type 15"),
        pytest.param(b"\x40\x00", id="PUBACK without a packet id"),
        pytest.param(b"\x40\x01\x01", id="PUBACK with half a packet id"),
        pytest.param(b"\x40\x03\x00\x01\x00", id="PUBACK with a byte to spare"),
        pytest.param(b"\x50\x01\x01", id="PUBREC with half a packet id"),
        pytest.param(b"\x50\x03\x00\x01\x00", id="PUBREC with a byte to spare"),
        pytest.param(b"\x62\x01\x01", id="PUBREL with half a packet id"),
        pytest.param(b"\x62\x03\x00\x01\x00", id="PUBREL with a byte to spare"),
        pytest.param(b"\x70\x01\x01", id="PUBCOMP with half a packet id"),
        pytest.param(b"\x70\x03\x00\x01\x00", id="PUBCOMP with a byte to spare"),
        pytest.param(b"\xc0\x01\x00", id="PINGREQ with a body"),
        pytest.param(b"\xe0\x01\x00", id="DISCONNECT with a body"),
        pytest.param(b"\x30\x00", id="PUBLISH without a topic"),
        pytest.param(b"\x30\x01\x00", id="PUBLISH with half a length"),
        pytest.param(b"\x30\x03\x00\x02a", id="topic beyond its packet"),
        pytest.param(b"\x32\x03\x00\x01a", id="PUBLISH without its packet id"),
        pytest.param(b"\x32\x04\x00\x01a\x00", id="PUBLISH with half a packet id"),
        pytest.param(b"\x34\x04\x00\x01a\x01", id="PUBLISH of QoS 2 with half a packet id"),
        pytest.param(b"\x82\x00", id="empty SUBSCRIBE"),
        pytest.param(b"\x82\x05\x00\x01\x00\x01a", id="SUBSCRIBE without a QoS"),
        pytest.param(b"\x82\x06\x00\x01\x00\x02a\x00", id="filter that takes the QoS along"),
        pytest.param(b"\x82\x07\x00\x01\x00\x01a\x00\x00", id="SUBSCRIBE with a byte to spare"),
        pytest.param(b"\xa2\x00", id="empty UNSUBSCRIBE"),
        pytest.param(b"\xa2\x05\x00\x01\x00\x02a", id="filter beyond its packet"),
        pytest.param(b"\xa2\x06\x00\x01\x00\x01a\x00", id="UNSUBSCRIBE with a byte to spare"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="length of five bytes"),
        pytest.param(b"\x30\xff\xff\xff\x7f", id="256 MB"),
        pytest.param(b"\x10\x00", id="empty CONNECT"),
    ],
)
async def test_a_violation_closes_the_connection(device: Device, packet: bytes) -> None:
    assert await turned_away(device, packet)
    assert await thrown_out(device, packet)


@statement311("MQTT-4.8.0-2")
async def test_a_fault_of_ours_closes_the_connection_unacknowledged(device: Device) -> None:
    async with device.online() as client:
        device.here.intake.hold()
        client.write(mqtt.publish(device.topic, BODY, 1, 5))
        await until(lambda: device.here.intake.pending)
        device.here.intake.pending.pop().future.set_exception(RuntimeError("a fault of ours"))
        device.here.intake.release()
        assert await client.closed() == b""


@statement311("MQTT-7.1.1-1")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_conversation_byte_by_byte_and_in_one_piece(device: Device, clean: bool) -> None:
    said = (
        device.connect(clean=clean)
        + mqtt.subscribe(1, (device.prefix + "#", 2))
        + mqtt.publish(device.topic, BODY, 1, 2)
        + mqtt.publish(device.topic, BODY, 2, 3)
        + mqtt.pubrel(3)
        + mqtt.unsubscribe(4, device.prefix + "#")
        + mqtt.publish(device.topic, BODY, 0)
        + mqtt.PINGREQ
    )
    answers = {
        *(b"\x90\3\0\1\1", mqtt.puback(2), mqtt.pubrec(3), mqtt.pubcomp(3), b"\xb0\2\0\4", mqtt.PINGRESP),
    }
    pieces = ([said], [said[at : at + 1] for at in range(len(said))], [said[:7], said[7:90], said[90:]])
    for each in pieces:
        async with mqtt.connected(device.here.address) as client:
            for piece in each:
                client.write(piece)
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.read())[0] == 0x20
            assert {await client.read() for _ in answers} == answers
    await until(lambda: len(device.committed) == 3 * len(pieces))


def padded(packet: bytes) -> bytes:
    """With a remaining length of three bytes, where one would do."""
    assert packet[1] < 128
    return packet[:1] + bytes([packet[1] | 128, 128, 0]) + packet[2:]


async def test_a_length_may_be_longer_written_than_need_be(device: Device) -> None:
    """Nothing in this version forbids it, and clients that leave room for a length do so."""
    async with mqtt.connected(device.here.address) as client:
        client.write(padded(device.connect()) + padded(mqtt.publish(device.topic, BODY)) + padded(mqtt.PINGREQ))
        assert (await client.read())[0] == 0x20
        assert {await client.read(), await client.read()} == {mqtt.puback(1), mqtt.PINGRESP}
        client.write(padded(mqtt.subscribe(2, (device.prefix + "#", 1))) + padded(mqtt.DISCONNECT))
        assert await client.closed() == b"\x90\3\0\2\1"


async def test_in_mqtt_5_it_may_not(device: Device) -> None:
    async with mqtt.connected(device.here.address) as client:
        client.write(padded(connect_5(device.alias, device.token, "client-5")))
        assert (await client.closed())[:1] in (b"", b"\x20")
    assert not device.logins
