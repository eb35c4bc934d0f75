"""Conformance with MQTT 3.1.1, chapters 3.1.2.4, 4.1, 4.4 and 4.6: what is kept for a device that comes back."""

from __future__ import annotations

import pytest

from pulse_mqtt.courier import MOST_IN_FLIGHT
from support import mqtt311 as mqtt
from support.mqtt_device import RESUMED, Device, alive, published
from support.mqtt_door import ACCEPTED, BODY
from support.statements import statement311
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def subscribe(device: Device, client: mqtt.Client, rest: str = "cmd/#", qos: int = 1) -> None:
    client.write(mqtt.subscribe(99, (device.prefix + rest, qos)))
    assert await client.read() == b"\x90\3\0\x63" + bytes([qos])


async def leave(client: mqtt.Client) -> None:
    client.write(mqtt.DISCONNECT)
    assert await client.closed() == b""


@statement311("MQTT-3.1.2-4", "MQTT-3.2.2-2", "MQTT-3.2.2-3", "MQTT-4.1.0-1", "MQTT-3.1.4-3")
@pytest.mark.parametrize("goodbye", [True, False], ids=["DISCONNECT", "connection lost"])
async def test_a_session_is_resumed_with_its_subscriptions(device: Device, goodbye: bool) -> None:
    async with device.online(clean=False) as client:
        await subscribe(device, client)
        if goodbye:
            await leave(client)
        else:
            client.writer.transport.abort()
    await until(lambda: gone(device, 1))
    async with device.online(clean=False, answer=RESUMED) as client:
        device.queue("reboot")
        got = published(await client.read())
        assert (got.name, got.qos) == ("reboot", 1)
        client.write(mqtt.puback(got.packet_id))
        await leave(client)
    async with device.online(clean=False, answer=RESUMED) as client:
        assert await alive(client)


def gone(device: Device, times: int) -> bool:
    """Whether so many connections of the device have ended."""
    return sum(bool(endings) for key, _, endings in device.here.intake.connections if key == device.key) == times


@statement311("MQTT-3.2.2-2", "MQTT-4.1.0-1")
async def test_a_session_without_subscriptions_is_one(device: Device) -> None:
    async with device.online(clean=False) as client:
        await leave(client)
    async with device.online(clean=False, answer=RESUMED) as client:
        await leave(client)


@statement311("MQTT-4.1.0-2", "MQTT-3.1.4-2")
async def test_a_session_goes_on_when_it_is_taken_over(device: Device) -> None:
    async with device.online(clean=False) as older:
        await subscribe(device, older)
        async with device.online(clean=False, answer=RESUMED) as newer:
            assert await older.closed() == b""
            device.queue("reboot")
            assert published(await newer.read()).name == "reboot"
        async with device.online(clean=False, answer=RESUMED) as newest:
            assert published(await newest.read()).name == "reboot"


@statement311("MQTT-3.1.2-6", "MQTT-3.2.2-1", "MQTT-3.1.4-3")
async def test_a_clean_session_forgets_what_there_was(device: Device) -> None:
    async with device.online(clean=False) as client:
        await subscribe(device, client)
        await leave(client)
    command = device.queue("reboot")
    async with device.online(clean=True, answer=ACCEPTED) as client:
        assert await client.silent()
        assert await alive(client)
        assert device.status(command) == "QUEUED"
        await leave(client)
    async with device.online(clean=False, answer=ACCEPTED) as client:
        assert await alive(client)


@statement311("MQTT-3.1.2-6", "MQTT-3.2.2-3")
async def test_a_clean_session_is_not_resumed(device: Device) -> None:
    async with device.online(clean=True) as client:
        await subscribe(device, client)
        await leave(client)
    command = device.queue("reboot")
    async with device.online(clean=False, answer=ACCEPTED) as client:
        assert await client.silent()
        assert device.status(command) == "QUEUED"


@statement311("MQTT-3.1.2-6", "MQTT-4.3.3-2")
async def test_a_clean_session_forgets_packet_ids_of_qos_2(device: Device) -> None:
    async with device.online(clean=False) as client:
        client.write(mqtt.publish(device.topic, BODY, 2, 7))
        assert await client.read() == mqtt.pubrec(7)
    async with device.online(clean=True) as client:
        client.write(mqtt.publish(device.topic, BODY, 2, 7))
        assert await client.read() == mqtt.pubrec(7)
        assert len(device.committed) == 2


@statement311("MQTT-3.1.3-2")
async def test_a_session_belongs_to_a_device_and_a_client_id(device: Device) -> None:
    async with device.online("one", clean=False) as client:
        await leave(client)
    async with device.online("two", clean=False, answer=ACCEPTED) as client:
        await leave(client)
    async with Device(device.here).online("one", clean=False, answer=ACCEPTED) as client:
        await leave(client)
    async with device.online("one", clean=False, answer=RESUMED) as client:
        await leave(client)


@statement311("MQTT-3.1.2-5", "MQTT-4.1.0-1", "MQTT-4.6.0-6")
async def test_commands_wait_for_a_device_that_is_away(device: Device) -> None:
    async with device.online(clean=False) as client:
        await subscribe(device, client)
        await leave(client)
    names = [f"c{number}" for number in range(20)]
    for name in names:
        device.queue(name)
    async with device.online(clean=False, answer=RESUMED) as client:
        got = [published(await client.read()) for _ in names]
        assert [each.name for each in got] == names
        assert [(each.qos, each.dup, each.retain) for each in got] == [(1, False, False)] * 20


@statement311("MQTT-4.4.0-1", "MQTT-4.6.0-1", "MQTT-3.3.1-1", "MQTT-3.3.1-3", "MQTT-2.3.1-4", "MQTT-4.3.2-1")
async def test_what_is_not_acknowledged_is_sent_again(device: Device) -> None:
    """In its first order, under its packet id, with DUP; what is acknowledged is not, and what is new has no DUP."""
    async with device.online(clean=False) as client:
        await subscribe(device, client)
        commands = [device.queue(f"c{number}") for number in range(5)]
        first = [published(await client.read()) for _ in commands]
        client.write(mqtt.puback(first[1].packet_id) + mqtt.puback(first[3].packet_id))
        await until(lambda: [device.status(each) for each in commands].count("ACKNOWLEDGED") == 2)
        client.writer.transport.abort()
    await until(lambda: gone(device, 1))
    device.queue("new")
    async with device.online(clean=False, answer=RESUMED) as client:
        again = [published(await client.read()) for _ in range(4)]
        assert [(each.name, each.packet_id) for each in again[:3]] == [
            (first[at].name, first[at].packet_id) for at in (0, 2, 4)
        ]
        assert [each.dup for each in again] == [True, True, True, False]
        for each in again:
            client.write(mqtt.puback(each.packet_id))
        assert await alive(client)
        await leave(client)
    async with device.online(clean=False, answer=RESUMED) as client:
        assert await alive(client)


@statement311("MQTT-4.3.2-1", "MQTT-2.3.1-4", "MQTT-2.3.1-1", "MQTT-3.3.1-9", "MQTT-4.6.0-6")
async def test_commands_have_packet_ids_of_their_own(device: Device) -> None:
    async with device.online() as client:
        await subscribe(device, client)
        commands = [device.queue(f"c{number}") for number in range(MOST_IN_FLIGHT)]
        got = [published(await client.read()) for _ in commands]
        assert [each.name for each in got] == [f"c{number}" for number in range(MOST_IN_FLIGHT)]
        assert len({each.packet_id for each in got} - {0}) == MOST_IN_FLIGHT
        assert {(each.qos, each.dup, each.retain) for each in got} == {(1, False, False)}
        assert {device.status(each) for each in commands} == {"SENT"}
        client.write(b"".join(mqtt.puback(each.packet_id) for each in reversed(got)))
        await until(lambda: {device.status(each) for each in commands} == {"ACKNOWLEDGED"})


@statement311("MQTT-4.6.0-6", "MQTT-4.3.2-1")
async def test_commands_beyond_those_in_flight_wait_for_their_turn(device: Device) -> None:
    async with device.online() as client:
        await subscribe(device, client)
        names = [f"c{number}" for number in range(3 * MOST_IN_FLIGHT)]
        for name in names:
            device.queue(name)
        got = [published(await client.read()) for _ in range(MOST_IN_FLIGHT)]
        assert await alive(client)
        for _ in range(2 * MOST_IN_FLIGHT):
            client.write(mqtt.puback(got[-MOST_IN_FLIGHT].packet_id))
            got.append(published(await client.read()))
        assert [each.name for each in got] == names
        assert not any(each.dup for each in got)


@statement311("MQTT-3.8.4-3", "MQTT-3.3.1-3")
async def test_subscribing_again_sends_nothing_twice(device: Device) -> None:
    async with device.online() as client:
        await subscribe(device, client)
        device.queue("one")
        assert published(await client.read()).name == "one"
        await subscribe(device, client)
        await subscribe(device, client, "#")
        device.queue("two")
        got = published(await client.read())
        assert (got.name, got.dup) == ("two", False)
        assert await alive(client)


@statement311("MQTT-4.3.1-1", "MQTT-3.3.1-2")
async def test_a_command_of_qos_0_comes_once(device: Device) -> None:
    async with device.online(clean=False) as client:
        await subscribe(device, client, "cmd/#", 0)
        device.queue("one")
        got = published(await client.read())
        assert (got.name, got.qos, got.dup, got.packet_id) == ("one", 0, False, 0)
        await leave(client)
    device.queue("two")
    async with device.online(clean=False, answer=RESUMED) as client:
        got = published(await client.read())
        assert (got.name, got.qos, got.dup, got.packet_id) == ("two", 0, False, 0)
        assert await alive(client)


@statement311("MQTT-3.8.4-5", "MQTT-4.8.0-2")
async def test_a_subscription_that_cannot_be_stored_is_refused(device: Device) -> None:
    """What SUBACK refuses is not subscribed to, neither now nor later, and what there was goes on."""
    async with device.online(clean=False) as client:
        await subscribe(device, client, "cmd/known")
        with device.store_down():
            client.write(mqtt.subscribe(5, (device.prefix + "cmd/+", 1)))
            assert await client.read() == b"\x90\3\0\5\x80"
        command = device.queue("other")
        device.queue("known")
        assert published(await client.read()).name == "known"
        assert await alive(client)
        assert device.status(command) == "QUEUED"


@statement311("MQTT-3.10.4-4", "MQTT-4.8.0-2")
async def test_an_end_of_a_subscription_that_cannot_be_stored_is_not_confirmed(device: Device) -> None:
    """UNSUBACK cannot say no: the connection is closed, and the session is what it was."""
    async with device.online(clean=False) as client:
        await subscribe(device, client)
        with device.store_down():
            client.write(mqtt.unsubscribe(5, device.prefix + "cmd/#") + mqtt.PINGREQ)
            assert await client.closed() == b""
    async with device.online(clean=False, answer=RESUMED) as client:
        device.queue("reboot")
        assert published(await client.read()).name == "reboot"


@statement311("MQTT-4.3.2-1")
async def test_a_command_is_unacknowledged_until_its_own_puback(device: Device) -> None:
    async with device.online() as client:
        await subscribe(device, client)
        command = device.queue("reboot")
        got = published(await client.read())
        client.write(mqtt.puback(got.packet_id % 65_535 + 1))
        client.write(mqtt.publish(device.topic, BODY, 2, got.packet_id) + mqtt.pubrel(got.packet_id))
        assert {await client.read(), await client.read()} == {mqtt.pubrec(got.packet_id), mqtt.pubcomp(got.packet_id)}
        assert device.status(command) == "SENT"
        client.write(mqtt.puback(got.packet_id))
        await until(lambda: device.status(command) == "ACKNOWLEDGED")
