"""Conformance with MQTT 3.1.1 where things cross: a lost connection, a takeover or an outage at a bad moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import StoreUnavailable
from support import mqtt311 as mqtt
from support.mqtt_device import RESUMED, Device, alive, published
from support.mqtt_door import ACCEPTED, BODY
from support.statements import statement311
from support.waiting import until

if TYPE_CHECKING:
    from pulse_core.api import Command, DeviceKey

pytestmark = pytest.mark.asyncio(loop_scope="module")


@statement311("MQTT-3.8.4-1", "MQTT-4.1.0-1")
async def test_subscribe_and_disconnect_in_one_piece(device: Device) -> None:
    async with device.online(clean=False) as client:
        client.write(mqtt.subscribe(5, (device.prefix + "cmd/#", 1)) + mqtt.DISCONNECT)
        assert await client.closed() == b"\x90\3\0\5\1"
    device.queue("reboot")
    async with device.online(clean=False, answer=RESUMED) as client:
        assert published(await client.read()).name == "reboot"


@statement311("MQTT-3.14.4-3", "MQTT-4.3.2-2")
async def test_disconnect_while_a_message_is_undecided(device: Device) -> None:
    """It is decided and acknowledged, and the will is discarded all the same."""
    intake = device.here.intake
    async with device.online(will=(device.topic, b'{"site_id":"site-1","seq":7}')) as client:
        intake.hold()
        client.write(mqtt.publish(device.topic, BODY, 1, 5) + mqtt.DISCONNECT)
        await until(lambda: intake.pending)
        assert await client.silent()
        intake.release()
        assert await client.closed() == mqtt.puback(5)
    await until(lambda: all(endings for key, _, endings in intake.connections if key == device.key))
    assert [message.payload for message in device.committed] == [BODY]


@statement311("MQTT-4.3.3-2", "MQTT-3.1.4-2")
async def test_packet_ids_of_qos_2_survive_takeovers_that_overtake_each_other(device: Device) -> None:
    intake = device.here.intake
    async with device.online(clean=False) as first, mqtt.connected(device.here.address) as second:
        first.write(mqtt.publish(device.topic, BODY, 2, 7))
        assert await first.read() == mqtt.pubrec(7)
        logins = len(intake.session_log)
        intake.delay_s = 0.1
        try:
            second.write(device.connect(clean=False))
            await first.closed()
            async with device.online(clean=False, answer=RESUMED) as third:
                intake.delay_s = 0.0
                third.write(mqtt.publish(device.topic, BODY, 2, 7, dup=True) + mqtt.pubrel(7))
                assert [await third.read(), await third.read()] == [mqtt.pubrec(7), mqtt.pubcomp(7)]
        finally:
            intake.delay_s = 0.0
        assert await second.closed() in (b"", RESUMED)
        assert len(intake.session_log) > logins
    assert len(device.committed) == 1


@statement311("MQTT-4.3.3-2")
async def test_a_message_of_qos_2_that_is_undecided_when_its_connection_is_lost(device: Device) -> None:
    """It is on its way into the store: sent again, it waits for the same decision."""
    intake = device.here.intake
    async with device.online(clean=False) as client:
        intake.hold()
        client.write(mqtt.publish(device.topic, BODY, 2, 7))
        await until(lambda: intake.pending)
        client.writer.transport.abort()
    async with device.online(clean=False, answer=RESUMED) as client:
        client.write(mqtt.publish(device.topic, BODY, 2, 7, dup=True))
        assert await client.silent()
        intake.release()
        assert await client.read() == mqtt.pubrec(7)
    assert len(device.committed) == 1


@statement311("MQTT-4.4.0-1", "MQTT-4.6.0-1", "MQTT-4.6.0-6")
async def test_what_waited_comes_before_what_is_new_also_after_an_outage(device: Device) -> None:
    store = device.here.intake.command_store
    async with device.online(clean=False) as client:
        client.write(mqtt.subscribe(5, (device.prefix + "cmd/#", 1)))
        assert (await client.read())[0] == 0x90
        client.writer.transport.abort()
    await until(lambda: all(endings for key, _, endings in device.here.intake.connections if key == device.key))
    for name in ("one", "two"):
        device.queue(name)
    store.down = True
    takes = store.takes
    try:
        async with device.online(clean=False, answer=RESUMED) as client:
            await until(lambda: store.takes > takes)
            store.down = False
            device.queue("three")
            assert [published(await client.read()).name for _ in range(3)] == ["one", "two", "three"]
    finally:
        store.down = False


@statement311("MQTT-4.6.0-1", "MQTT-4.6.0-6")
@pytest.mark.parametrize("outage", [True, False])
async def test_a_new_command_does_not_overtake_those_that_are_sent_again(
    device: Device, outage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while those are still being fetched, or while they cannot be: an old setting must not come last."""
    intake = device.here.intake
    fetch, asked, go_on = intake.commands, asyncio.Event(), asyncio.Event()

    async def fetch_slowly(key: DeviceKey, *, again: bool = True, **more: Any) -> list[Command]:
        if again and not go_on.is_set():
            asked.set()
            await go_on.wait()
            if outage:
                raise StoreUnavailable("the test says so")
        return await fetch(key, again=again, **more)

    async with device.online(clean=False) as client:
        client.write(mqtt.subscribe(5, (device.prefix + "cmd/#", 1)))
        assert (await client.read())[0] == 0x90
        before = [device.queue("set", "1"), device.queue("set", "2")]
        assert [published(await client.read()).payload for _ in before] == [b"1", b"2"]
        client.writer.transport.abort()
    monkeypatch.setattr(intake, "commands", fetch_slowly)
    async with device.online(clean=False, answer=RESUMED) as client:
        await asked.wait()
        command = device.queue("set", "3")
        await until(lambda: device.status(command) == "SENT")
        go_on.set()
        got = [published(await client.read()) for _ in range(3)]
        assert [(each.payload, each.dup) for each in got] == [(b"1", True), (b"2", True), (b"3", False)]
        assert await alive(client)


@statement311("MQTT-3.1.4-2", "MQTT-3.1.2-6")
async def test_many_connects_of_one_client_at_once_leave_one(device: Device) -> None:
    async def come() -> mqtt.Client:
        host, _, port = device.here.address.removeprefix("mqtt://").rpartition(":")
        client = mqtt.Client(*await asyncio.open_connection(host, int(port)))
        client.write(device.connect(clean=False))
        return client

    clients = await asyncio.gather(*[come() for _ in range(20)])
    try:
        ended = [asyncio.create_task(client.closed()) for client in clients]
        await until(lambda: sum(task.done() for task in ended) == 19)
        [(staying, waiting)] = [(client, task) for client, task in zip(clients, ended, strict=True) if not task.done()]
        waiting.cancel()
        assert {task.result() for task in ended if task is not waiting} <= {b"", ACCEPTED, RESUMED}
        staying.write(mqtt.publish(device.topic, BODY, 1, 9))
        await until(lambda: device.committed)
    finally:
        for client in clients:
            client.writer.close()
    async with device.online(clean=False, answer=RESUMED) as client:
        assert await alive(client)
