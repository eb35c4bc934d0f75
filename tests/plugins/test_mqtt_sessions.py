"""MQTT: what outlives a connection. Sessions, commands on their way, last wills; in both versions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from pulse_core.api import ConnectionEvent, DeviceKey
from pulse_core.commands import CommandStatus
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, Door, door
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = DeviceKey("tenant-a", "device-1")
COMMANDS = "tenant/tenant-a/device/device-1/cmd/#"
VERSIONS = [paho.MQTTv311, paho.MQTTv5]


class Device:
    """A real client with a session that it keeps."""

    def __init__(self, here: Door, version: int, client_id: str = "client-1", *, clean: bool = False) -> None:
        self.version = version
        self.clean = clean
        options: dict[str, Any] = {} if version == paho.MQTTv5 else {"clean_session": clean}
        protocol = MQTTProtocolVersion(version)
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol, **options)
        self.client.username_pw_set(ALIAS, TOKEN)
        self.got: list[paho.MQTTMessage] = []
        self.said: list[Any] = []
        self.granted: list[Any] = []
        self.acknowledged: list[Any] = []
        self.client.on_message = lambda _c, _u, message: self.got.append(message)
        self.client.on_connect = lambda _c, _u, flags, code, _p: self.said.append((flags.session_present, str(code)))
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.granted.extend(str(code) for code in codes)
        self.client.on_publish = lambda _c, _u, _mid, code, _p: self.acknowledged.append(str(code))
        self.port = int(here.address.rpartition(":")[2])

    async def __aenter__(self) -> Self:
        options: dict[str, Any] = {}
        if self.version == paho.MQTTv5:
            properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            if not self.clean:
                properties.SessionExpiryInterval = 3600
            options = {"clean_start": self.clean, "properties": properties}
        await asyncio.to_thread(self.client.connect, "127.0.0.1", self.port, 60, **options)
        self.client.loop_start()
        await until(lambda: self.said)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    async def subscribe(self, topic_filter: str = COMMANDS, qos: int = 1) -> str:
        self.client.subscribe(topic_filter, qos)
        await until(lambda: self.granted)
        return str(self.granted.pop())

    def break_off(self) -> None:
        """Be gone without a word."""
        sock = self.client.socket()
        assert sock
        sock.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_command_reaches_a_subscribed_device_and_its_puback_acknowledges_it(version: int) -> None:
    async with door() as here, Device(here, version, clean=True) as device:
        assert await device.subscribe() == "Granted QoS 1"
        command = here.intake.command_store.queue(DEVICE, "reboot", '{"in_s":5}')
        await until(lambda: here.intake.command_store.status(command) is CommandStatus.ACKNOWLEDGED)
        (message,) = device.got
        assert (message.topic, message.payload) == (COMMANDS.replace("#", "reboot"), b'{"in_s":5}')
        assert (message.qos, message.dup, message.retain) == (1, False, False)
        if version == paho.MQTTv5:
            said: Any = message.properties
            assert dict(said.UserProperty) == {"command_id": str(command)}
            assert 0 < said.MessageExpiryInterval <= 3600


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_sleeping_device_gets_its_commands_when_it_wakes(version: int) -> None:
    async with door() as here:
        async with Device(here, version) as device:
            assert device.said == [(False, "Success")]
            await device.subscribe()
        await until(lambda: here.intake.connections[0][2])
        command = here.intake.command_store.queue(DEVICE)
        async with Device(here, version) as device:
            assert device.said == [(True, "Success")]
            await until(lambda: here.intake.command_store.status(command) is CommandStatus.ACKNOWLEDGED)
            assert len(device.got) == 1
        async with Device(here, version, clean=True) as device:
            assert device.said == [(False, "Success")]
        async with Device(here, version) as device:
            assert device.said == [(False, "Success")]


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_what_is_subscribed_to_comes_and_the_rest_waits(version: int) -> None:
    async with door() as here, Device(here, version, clean=True) as device:
        await device.subscribe(COMMANDS.replace("#", "reboot"))
        other = here.intake.command_store.queue(DEVICE, "update")
        wanted = here.intake.command_store.queue(DEVICE, "reboot")
        await until(lambda: here.intake.command_store.status(wanted) is CommandStatus.ACKNOWLEDGED)
        assert here.intake.command_store.status(other) is CommandStatus.QUEUED
        await device.subscribe(COMMANDS.replace("#", "+"))
        await until(lambda: here.intake.command_store.status(other) is CommandStatus.ACKNOWLEDGED)
        assert [message.topic.rpartition("/")[2] for message in device.got] == ["reboot", "update"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_nothing_outside_its_own_topics_is_granted(version: int) -> None:
    async with door() as here, Device(here, version, clean=True) as device:
        for foreign in ("#", "tenant/+/device/device-1/cmd/#", "tenant/tenant-b/device/device-1/cmd/#"):
            assert await device.subscribe(foreign) in {"Unspecified error", "Not authorized"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("breaks", "payload", "event"),
    [
        (Device.break_off, BODY, "telemetry: taken in"),
        (Device.break_off, b"gone", "telemetry: MALFORMED_JSON"),
        (lambda device: device.client.disconnect(), BODY, None),
    ],
)
async def test_a_will(version: int, breaks: Callable[[Device], Any], payload: bytes, event: str | None) -> None:
    async with door() as here:
        device = Device(here, version, clean=True)
        device.client.will_set(TOPIC, payload, 1)
        async with device:
            breaks(device)
            await until(lambda: here.intake.connections[0][2])
            if event is None:
                assert not here.intake.connection_events
                return
            await until(lambda: here.intake.connection_events)
            key, kind, about = here.intake.connection_events[0]
            assert (key, kind, about["detail"]) == (DEVICE, ConnectionEvent.WILL, event)
            assert [one.payload for one in here.intake.committed] == ([BODY] if payload is BODY else [])


async def test_what_is_refused_is_acknowledged_with_the_reason() -> None:
    async with door() as here, Device(here, paho.MQTTv5, clean=True) as device:
        for topic, payload, code in [
            (TOPIC, BODY, "Success"),
            (TOPIC, b"{", "Payload format invalid"),
            (TOPIC.replace("telemetry", "gossip"), BODY, "Topic name invalid"),
            (TOPIC.replace("tenant-a", "tenant-b"), BODY, "Not authorized"),
        ]:
            for qos in (1, 2):
                device.client.publish(topic, payload, qos)
                await until(lambda: device.acknowledged)
                # paho releases what was refused, too, and is told that there is nothing to release
                released = "Packet identifier not found" if qos == 2 and code != "Success" else code
                assert device.acknowledged.pop() == released
        assert len(here.intake.committed) == 2
        assert device.client.is_connected()
