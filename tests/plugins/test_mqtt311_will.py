"""Conformance with MQTT 3.1.1, chapters 3.1.2.5 to 3.1.2.7 and 3.14: the will."""

from __future__ import annotations

import pytest

from support import mqtt311 as mqtt
from support.mqtt_device import Device, alive
from support.mqtt_door import BODY, Door
from support.statements import statement311
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WILL = b'{"site_id":"site-1","metrics":{"last":1}}'
QOS_1, QOS_2, RETAIN = 0x08, 0x10, 0x20


def last_will(device: Device, payload: bytes = WILL) -> tuple[str, bytes]:
    return device.prefix + "event", payload


def heard(device: Device) -> list[bytes]:
    return [message.payload for message in device.committed]


async def ended(device: Device) -> None:
    """Wait until its connection is known to have ended."""
    await until(lambda: all(endings for key, _, endings in device.here.intake.connections if key == device.key))


@statement311("MQTT-3.1.2-8", "MQTT-3.1.2-9", "MQTT-3.1.2-16", "MQTT-3.1.2-14")
@pytest.mark.parametrize("flags", [0, QOS_1, QOS_2, RETAIN, QOS_1 | RETAIN, QOS_2 | RETAIN])
async def test_a_lost_connection_publishes_the_will(device: Device, flags: int) -> None:
    async with device.online(will=last_will(device), flags=flags) as client:
        assert await alive(client)
        assert not device.committed
        client.writer.transport.abort()
    await until(lambda: heard(device) == [WILL])
    [will] = device.committed
    assert (will.msg_type, will.authenticated) == ("event", True)


@statement311("MQTT-3.1.2-8")
async def test_a_client_that_closes_without_disconnect_publishes_its_will(device: Device) -> None:
    async with device.online(will=last_will(device)) as client:
        client.write(mqtt.publish(device.topic, BODY, 1, 1))
        assert await client.read() == mqtt.puback(1)
    await until(lambda: heard(device) == [BODY, WILL])


@statement311("MQTT-3.1.2-8")
async def test_a_violation_publishes_the_will(device: Device) -> None:
    async with device.online(will=last_will(device)) as client:
        client.write(b"\xf0\x00")
        assert await client.closed() == b""
    await until(lambda: heard(device) == [WILL])


@statement311("MQTT-3.1.2-8", "MQTT-3.1.2-24")
async def test_silence_publishes_the_will(device: Device) -> None:
    async with device.online(will=last_will(device), keepalive_s=1) as client:
        assert await client.closed() == b""
    await until(lambda: heard(device) == [WILL])


@statement311("MQTT-3.1.2-8", "MQTT-3.1.4-2")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_connection_that_is_taken_over_publishes_its_will(device: Device, clean: bool) -> None:
    answer = b"\x20\x02" + bytes((not clean, 0))
    async with (
        device.online(clean=clean, will=last_will(device)) as older,
        device.online(clean=clean, answer=answer) as newer,
    ):
        assert await older.closed() == b""
        await until(lambda: heard(device) == [WILL])
        assert await alive(newer)


@statement311("MQTT-3.14.4-3", "MQTT-3.1.2-8", "MQTT-3.1.2-10")
async def test_disconnect_discards_the_will(device: Device) -> None:
    async with device.online(will=last_will(device)) as client:
        client.write(mqtt.publish(device.topic, BODY, 1, 1) + mqtt.DISCONNECT)
        assert await client.closed() == mqtt.puback(1)
    await ended(device)
    assert await nothing_but(device, BODY)


async def nothing_but(device: Device, *payloads: bytes) -> bool:
    """Whether this is all, once something that comes later has come."""
    async with device.online("witness") as client:
        client.write(mqtt.publish(device.topic, b'{"site_id":"site-1","seq":99}', 1, 1))
        assert await client.read() == mqtt.puback(1)
        client.write(mqtt.DISCONNECT)
        await client.closed()
    return heard(device) == [*payloads, b'{"site_id":"site-1","seq":99}']


@statement311("MQTT-3.14.1-1", "MQTT-3.1.2-8")
@pytest.mark.parametrize("goodbye", [b"\xe1\x00", b"\xe0\x01\x00"])
async def test_a_disconnect_that_is_none_does_not_discard_the_will(device: Device, goodbye: bytes) -> None:
    async with device.online(will=last_will(device)) as client:
        client.write(goodbye)
        assert await client.closed() == b""
    await until(lambda: heard(device) == [WILL])


@statement311("MQTT-3.1.2-10", "MQTT-3.1.2-12")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_will_is_published_once(device: Device, clean: bool) -> None:
    """It belongs to its connection, not to the session."""
    async with device.online(clean=clean, will=last_will(device)) as client:
        client.writer.transport.abort()
    await until(lambda: heard(device) == [WILL])
    async with device.online(clean=clean, answer=b"\x20\x02" + bytes((not clean, 0))) as client:
        client.writer.transport.abort()
    await ended(device)
    assert await nothing_but(device, WILL)


@statement311("MQTT-3.1.2-12")
async def test_without_a_will_nothing_is_published(device: Device) -> None:
    async with device.online() as client:
        client.writer.transport.abort()
    await ended(device)
    assert await nothing_but(device)


@statement311("MQTT-3.1.4-5", "MQTT-3.1.2-8")
async def test_the_will_of_a_refused_connect_is_not_published(device: Device) -> None:
    async with mqtt.connected(device.here.address) as client:
        client.write(mqtt.connect(device.alias, "wrong", will=last_will(device)))
        assert await client.closed() == b"\x20\x02\x00\x05"
    assert await nothing_but(device)


@pytest.mark.parametrize("payload", [b"", b"no JSON", b'{"site_id":"another"}'])
async def test_a_will_that_is_no_message_harms_nobody(device: Device, payload: bytes) -> None:
    async with device.online(will=last_will(device, payload)) as client:
        client.writer.transport.abort()
    await ended(device)
    assert await nothing_but(device)


@statement311("MQTT-3.3.5-2")
async def test_a_will_outside_its_own_topics_is_nobody_elses(mqtt_door: Door, device: Device) -> None:
    victim = Device(mqtt_door)
    async with mqtt.connected(mqtt_door.address) as client:
        client.write(device.connect(will=(victim.topic, WILL)))
        answer = await client.closed() if (said := await client.read())[3] else said
        assert answer in (b"", said)
        client.writer.transport.abort()
    await ended(device)
    assert await nothing_but(device)
    assert not victim.committed
