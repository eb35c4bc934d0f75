"""MQTT: a device's life with clients that others wrote, in each version that they speak."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import DeviceKey, Ending
from pulse_core.commands import CommandStatus
from support.mqtt_door import ALIAS, TOKEN, TOPIC, Door, door
from support.mqtt_frames import MQTT5, MQTT311
from support.mqtt_js import MqttJs
from support.mqtt_mosquitto import Mosquitto
from support.mqtt_peer import Login, Peer
from support.mqtt_python import Aiomqtt, Gmqtt, Paho
from support.waiting import until

if TYPE_CHECKING:
    import uuid

DEVICE = DeviceKey("tenant-a", "device-1")
OWN = "tenant/tenant-a/device/device-1/"
CLIENT = "a-client"
WILL = b'{"site_id":"site-1","metrics":{"gone":true}}'
_WITHIN_S = 30.0


def login(here: Door, version: int) -> Login:
    host, _, port = here.address.removeprefix("mqtt://").rpartition(":")
    return Login(host, int(port), ALIAS, TOKEN, CLIENT, version, TOPIC, f"{OWN}cmd/#", WILL)


def endings(here: Door) -> list[Ending]:
    return [one for _, facts, ended in here.intake.connections if facts["client_id"] == CLIENT for one in ended]


async def demand_acknowledgement(here: Door, peer: Peer, command_id: uuid.UUID, name: str, payload: bytes) -> None:
    assert await asyncio.wait_for(peer.heard.get(), _WITHIN_S) == (f"{OWN}cmd/{name}", payload)
    commands = here.intake.command_store
    await until(lambda: commands.status(command_id) is CommandStatus.ACKNOWLEDGED)


async def live(here: Door, peer: Peer) -> None:
    """Publish, be commanded, be away, come back, vanish."""
    commands = here.intake.command_store
    await peer.connect()
    assert peer.present in (False, None)
    await peer.subscribe()
    messages = [b'{"site_id":"site-1","metrics":{"qos":%d}}' % qos for qos in (0, 1, 2)]
    for qos, message in enumerate(messages):
        await peer.publish(message, qos)
    await until(lambda: len(here.intake.committed) == len(messages))
    assert sorted(one.payload for one in here.intake.committed) == messages
    assert sorted(one.may_wait for one in here.intake.committed) == [False, True, True], "QoS 0 does not wait"
    first = commands.queue(DEVICE, "reboot", '{"delay_s":5}')
    await demand_acknowledgement(here, peer, first, "reboot", b'{"delay_s":5}')

    await peer.leave()
    await until(lambda: endings(here) == [Ending.CLIENT_CLOSED])
    messages += [WILL] * peer.asks_for_its_will
    await until(lambda: len(here.intake.committed) >= len(messages))
    assert len(here.intake.committed) == len(messages), "who says good-bye leaves no will, unless it says so"
    second = commands.queue(DEVICE, "blink", '"while it was away"')
    assert commands.status(second) is CommandStatus.QUEUED
    await peer.connect()
    assert peer.present in (True, None)
    await demand_acknowledgement(here, peer, second, "blink", b'"while it was away"')

    await peer.vanish()
    await until(lambda: [one.payload for one in here.intake.committed[len(messages) :]] == [WILL])
    assert endings(here) == [Ending.CLIENT_CLOSED, Ending.LOST]
    assert peer.heard.empty(), "nothing came twice, and nothing that was published came back"


@pytest.mark.parametrize("version", [MQTT311, MQTT5])
@pytest.mark.parametrize("client", [Paho, Aiomqtt, Gmqtt, MqttJs, Mosquitto])
async def test_a_device_s_life(client: type[Peer], version: int) -> None:
    async with door() as here:
        peer = client(login(here, version))
        try:
            await live(here, peer)
        finally:
            await peer.close()
