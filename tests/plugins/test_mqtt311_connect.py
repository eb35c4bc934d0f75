"""Conformance with MQTT 3.1.1, chapters 3.1 and 3.2: CONNECT and its answer. Sessions and wills are elsewhere."""

from __future__ import annotations

import asyncio
import string

import pytest

from pulse_core.api import Ending
from support import mqtt311 as mqtt
from support.mqtt_device import Device, alive, turned_away
from support.mqtt_door import ACCEPTED, ALIAS, BODY, TOKEN, TOPIC, Door, door
from support.statements import statement311
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLEAN, WILL, WILL_QOS_3, WILL_RETAIN, PASSWORD, USERNAME = 0x02, 0x04, 0x18, 0x20, 0x40, 0x80


def refusal(code: int) -> bytes:
    return bytes((0x20, 2, 0, code))


def raw(flags: int, *fields: str | bytes, name: bytes = b"MQTT", level: int = 4) -> bytes:
    """A CONNECT whose flags and fields need not fit each other."""
    head = mqtt.text(name) + bytes((level, flags)) + b"\0\x3c"
    return mqtt.packet(0x10, head + b"".join(mqtt.text(field) for field in fields))


@statement311("MQTT-3.1.0-1")
async def test_the_first_packet_is_connect(device: Device) -> None:
    for packet in (
        mqtt.publish(device.topic, BODY, 0),
        mqtt.publish(device.topic, BODY, 1),
        mqtt.publish(device.topic, BODY, 2),
        mqtt.puback(1),
        mqtt.pubrec(1),
        mqtt.pubrel(1),
        mqtt.pubcomp(1),
        mqtt.subscribe(1, (device.prefix + "#", 1)),
        mqtt.unsubscribe(1, device.prefix + "#"),
        mqtt.PINGREQ,
        mqtt.DISCONNECT,
        ACCEPTED,
    ):
        assert await turned_away(device, packet + device.connect())
    assert not device.committed


@statement311("MQTT-3.1.0-2")
@pytest.mark.parametrize("client_id", ["client-1", "another"])
async def test_a_second_connect_ends_the_connection(device: Device, client_id: str) -> None:
    async with device.online() as client:
        client.write(device.connect(client_id) + mqtt.PINGREQ)
        assert await client.closed() == b""
    async with mqtt.connected(device.here.address) as client:
        client.write(device.connect() + device.connect(client_id) + mqtt.PINGREQ)
        assert await client.closed() in (b"", ACCEPTED)
    assert device.logins == 2


@statement311("MQTT-3.1.2-1")
@pytest.mark.parametrize("name", [b"", b"mqtt", b"MQT", b"MQTTX", b"MQIsdp", b"MQTT\0", b"HTTP", b"\xff\xff\xff\xff"])
async def test_another_protocol_name(device: Device, name: bytes) -> None:
    said = await nobody_is_let_in(device, device.connect(name=name) + mqtt.PINGREQ)
    assert said in (b"", refusal(1))


async def nobody_is_let_in(device: Device, data: bytes) -> bytes:
    async with mqtt.connected(device.here.address) as client:
        client.write(data)
        said = await client.closed()
    assert not device.logins
    return said


@statement311("MQTT-3.1.2-2", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
@pytest.mark.parametrize("level", [0, 1, 2, 3, 6, 7, 0x83, 0x84, 255])
async def test_another_protocol_level(device: Device, level: int) -> None:
    """Whatever stands behind the level is of a protocol that we do not know."""
    assert await turned_away(device, device.connect(level=level), refusal(1))
    assert await turned_away(device, raw(0xFF, b"\xff\0", level=level), refusal(1))


@statement311("MQTT-3.1.2-2")
async def test_mqtt_3_1(device: Device) -> None:
    assert await turned_away(device, device.connect(name=b"MQIsdp", level=3), refusal(1))


@statement311("MQTT-3.1.2-3", "MQTT-3.1.4-1")
async def test_the_reserved_flag(device: Device) -> None:
    assert await turned_away(device, device.connect(flags=1))


@statement311("MQTT-3.1.2-9", "MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-14", "MQTT-3.1.2-15", "MQTT-3.1.4-1")
async def test_will_flags_that_contradict_each_other(device: Device) -> None:
    will, who = ("t", "message"), (device.alias, device.token)
    let_in = CLEAN | USERNAME | PASSWORD
    for packet in (
        raw(let_in | 0x08, "id", *who),
        raw(let_in | 0x10, "id", *who),
        raw(let_in | WILL_QOS_3, "id", *who),
        raw(let_in | WILL_RETAIN, "id", *who),
        raw(let_in | WILL_RETAIN | 0x08, "id", *who),
        raw(let_in | WILL | WILL_QOS_3, "id", *will, *who),
        raw(let_in | WILL | WILL_QOS_3 | WILL_RETAIN, "id", *will, *who),
        raw(let_in | WILL, "id", *who),
        raw(let_in | WILL, "id", "t", *who),
        raw(let_in, "id", *will, *who),
        raw(let_in | WILL, "id", "", "message", *who),
        raw(let_in | WILL, "id", "a/#", "message", *who),
        raw(let_in | WILL, "id", "a/+/b", "message", *who),
    ):
        assert await turned_away(device, packet), packet


@statement311("MQTT-3.1.2-18", "MQTT-3.1.2-19", "MQTT-3.1.2-20", "MQTT-3.1.2-21", "MQTT-3.1.2-22", "MQTT-3.1.4-1")
async def test_credentials_that_contradict_their_flags(device: Device) -> None:
    who = (device.alias, device.token)
    for packet in (
        raw(CLEAN, "id", *who),
        raw(CLEAN, "id", device.alias),
        raw(CLEAN | USERNAME, "id"),
        raw(CLEAN | USERNAME, "id", *who),
        raw(CLEAN | USERNAME | PASSWORD, "id", device.alias),
        raw(CLEAN | USERNAME | PASSWORD, "id"),
        raw(CLEAN | PASSWORD, "id", device.token),
        raw(CLEAN | PASSWORD, "id", *who),
        raw(CLEAN | USERNAME | PASSWORD, "id", *who, "more"),
    ):
        assert await turned_away(device, packet), packet


@statement311("MQTT-3.1.3-1", "MQTT-3.1.4-4")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_field_in_its_place(device: Device, qos: int) -> None:
    flags = CLEAN | WILL | qos << 3 | USERNAME | PASSWORD
    async with mqtt.connected(device.here.address) as client:
        client.write(raw(flags, "the id", device.topic, BODY, device.alias, device.token))
        assert await client.read() == ACCEPTED
        client.write(mqtt.DISCONNECT)
        assert await client.closed() == b""
    [shown] = [shown for key, shown, _ in device.here.intake.connections if key == device.key]
    assert shown["client_id"] == "the id"


@statement311("MQTT-3.1.3-1")
async def test_fields_in_another_order_mean_something_else(device: Device) -> None:
    flags = CLEAN | WILL | USERNAME | PASSWORD
    async with mqtt.connected(device.here.address) as client:
        client.write(raw(flags, "id", device.alias, device.token, device.topic, BODY))
        assert await client.closed() == refusal(4)


@statement311("MQTT-3.1.3-3", "MQTT-3.1.4-1")
async def test_a_connect_that_ends_too_early_or_too_late(device: Device) -> None:
    whole = raw(CLEAN | WILL | USERNAME | PASSWORD, "id", "t", "m", device.alias, device.token)
    body = whole[2:]
    assert len(whole) == len(body) + 2
    cut = [mqtt.packet(0x10, body[:end]) for end in range(len(body))]
    assert all(await asyncio.gather(*[turned_away(device, one) for one in [*cut, mqtt.packet(0x10, body + b"\0")]]))


@statement311("MQTT-3.1.3-5")
async def test_client_ids_that_must_be_accepted(device: Device) -> None:
    every = string.digits + string.ascii_letters
    ids = [*every, *(every[at : at + 23] for at in range(0, len(every), 23)), "0" * 23]
    for client_id in ids:
        async with device.online(client_id):
            pass
    shown = [shown["client_id"] for key, shown, _ in device.here.intake.connections if key == device.key]
    assert shown == ids


async def test_client_ids_that_may_be_accepted(device: Device) -> None:
    for client_id in ("a b", "ü", "漢字", "a/b+#$", "x" * 256):
        async with device.online(client_id) as client:
            assert await alive(client)


@statement311("MQTT-3.1.3-6")
async def test_clients_without_an_id_have_each_their_own(device: Device) -> None:
    async with device.online("") as one, device.online("") as two:
        assert await alive(one)
        assert await alive(two)


@statement311("MQTT-3.1.3-8", "MQTT-3.1.3-9", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
@pytest.mark.parametrize(("client_id", "clean"), [("", False), ("x" * 257, True), ("x" * 257, False)])
async def test_a_client_id_that_is_not_accepted(device: Device, client_id: str, clean: bool) -> None:
    async with mqtt.connected(device.here.address) as client:
        client.write(device.connect(client_id, clean=clean) + mqtt.PINGREQ)
        assert await client.closed() == refusal(2)
    assert not any(key == device.key for key, _, _ in device.here.intake.connections)


@statement311("MQTT-3.1.4-2")
async def test_the_same_client_again_ends_its_older_connection(device: Device) -> None:
    stranger = Device(device.here)
    async with (
        device.online("one") as older,
        device.online("two") as beside,
        stranger.online("one") as strangers,
        device.online("one") as newer,
    ):
        assert await older.closed() == b""
        assert [await alive(each) for each in (beside, strangers, newer)] == [True] * 3
    [ended, *_] = [endings for key, _, endings in device.here.intake.connections if key == device.key]
    assert ended == [Ending.TAKEN_OVER]


@statement311("MQTT-3.1.4-5", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
async def test_what_follows_a_refused_connect_is_not_processed(device: Device) -> None:
    more = (
        mqtt.publish(device.topic, BODY, 0)
        + mqtt.publish(device.topic, BODY, 1)
        + mqtt.subscribe(1, (device.prefix + "#", 1))
        + mqtt.PINGREQ
        + device.connect()
    )
    for packet, code in (
        (mqtt.connect(device.alias, "wrong"), 5),
        (mqtt.connect(device.alias, None), 5),
        (mqtt.connect(None, None), 4),
        (mqtt.connect("nobody", device.token), 4),
        (device.connect("", clean=False), 2),
        (device.connect(level=3), 1),
    ):
        async with mqtt.connected(device.here.address) as client:
            client.write(packet + more)
            assert await client.closed() == refusal(code)
    assert not device.committed


@statement311("MQTT-3.2.2-4", "MQTT-3.2.2-5")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_login_that_cannot_be_judged(device: Device, clean: bool) -> None:
    with device.store_down():
        async with mqtt.connected(device.here.address) as client:
            client.write(device.connect(clean=clean) + mqtt.publish(device.topic, BODY, 1))
            assert await client.closed() == refusal(3)
    assert not device.committed


@statement311("MQTT-3.2.0-1", "MQTT-3.1.4-4", "MQTT-3.2.2-1", "MQTT-3.1.4-3")
async def test_connack_comes_first(device: Device) -> None:
    async with mqtt.connected(device.here.address) as client:
        client.write(
            device.connect()
            + mqtt.PINGREQ
            + mqtt.publish(device.topic, BODY, 1, 1)
            + mqtt.subscribe(2, (device.prefix + "#", 1))
        )
        heard = [await client.read() for _ in range(4)]
        assert heard[0] == ACCEPTED
        assert set(heard[1:]) == {mqtt.PINGRESP, mqtt.puback(1), b"\x90\3\0\2\1"}


@statement311("MQTT-3.2.2-6")
async def test_too_many_connections_are_closed_without_a_word() -> None:
    async with door(max_connections=1) as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as first:
        async with mqtt.connected(here.address) as second:
            second.write(mqtt.connect("tenant-b/device-1", "another"))
            assert await second.closed() == b""
        first.write(mqtt.publish(TOPIC, BODY))
        assert await first.read() == mqtt.puback(1)


@statement311("MQTT-3.1.2-24")
async def test_keep_alive(mqtt_door: Door) -> None:
    """A silent client ends after one and a half times its keep-alive; one that pings, or has none, does not."""
    silent, pinging, patient = (Device(mqtt_door) for _ in range(3))
    async with (
        silent.online(keepalive_s=1) as one,
        pinging.online(keepalive_s=1) as two,
        patient.online(keepalive_s=0) as three,
    ):
        loop = asyncio.get_running_loop()
        since_s = loop.time()

        async def ping() -> None:
            while loop.time() < since_s + 2.5:
                assert await alive(two)
                await two.silent(0.25)

        async def be_silent() -> float:
            assert await one.closed() == b""
            return loop.time() - since_s

        lasted_s, _ = await asyncio.gather(be_silent(), ping())
        assert lasted_s > 1.45
        assert await alive(three)
        assert not any(endings for key, _, endings in mqtt_door.intake.connections if key == pinging.key)
        [(_, _, endings)] = [each for each in mqtt_door.intake.connections if each[0] == silent.key]
        await until(lambda: endings)
        assert endings == [Ending.KEEP_ALIVE]
