"""MQTT: clients that others wrote get along with the listener."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from pulse_core.api import Reason
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, Door, door
from support.statements import statement311

MOSQUITTO_PUB = shutil.which("mosquitto_pub")
_COMMANDS = "tenant/tenant-a/device/device-1/cmd/#"


def paho_session(host: str, port: int) -> tuple[list[int], list[int]]:
    """Publish ten messages of each QoS and subscribe; return the granted QoS and the connection's return codes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "paho-1", protocol=MQTTProtocolVersion.MQTTv311)
    granted: list[int] = []
    codes: list[int] = []
    client.on_connect = lambda _client, _data, _flags, code, _properties: codes.append(code.value)
    client.on_subscribe = lambda _client, _data, _ident, found, _properties: granted.extend(one.value for one in found)
    client.username_pw_set(ALIAS, TOKEN)
    client.will_set(TOPIC, b"gone", qos=1)
    client.connect(host, port, keepalive=5)
    client.loop_start()
    try:
        client.subscribe([(_COMMANDS, 1), ("#", 0)])
        sent = [client.publish(TOPIC, BODY, qos) for _ in range(10) for qos in (0, 1, 2)]
        for one in sent:
            one.wait_for_publish(20)
            assert one.rc == MQTTErrorCode.MQTT_ERR_SUCCESS
            assert one.is_published()
        client.unsubscribe(_COMMANDS)
    finally:
        client.disconnect()
        client.loop_stop()
    return granted, codes


def host_and_port(here: Door) -> tuple[str, int]:
    host, _, port = here.address.removeprefix("mqtt://").rpartition(":")
    return host, int(port)


@statement311("MQTT-7.0.0-2", "MQTT-7.1.1-1")
async def test_paho() -> None:
    async with door() as here:
        granted, codes = await asyncio.to_thread(paho_session, *host_and_port(here))
        assert codes == [0]
        assert granted == [1, 0x80]
        assert len(here.intake.committed) == 30


async def mosquitto_pub(here: Door, *arguments: str, token: str = TOKEN) -> tuple[int, str]:
    assert MOSQUITTO_PUB
    host, port = host_and_port(here)
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO_PUB, "-h", host, "-p", str(port), "-u", ALIAS, "-P", token, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, said.decode()


@pytest.mark.skipif(not MOSQUITTO_PUB, reason="mosquitto_pub is not installed")
@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_pub(qos: str) -> None:
    async with door() as here:
        assert await mosquitto_pub(here, "-q", qos, "-t", TOPIC, "-m", BODY.decode()) == (0, "")
        assert [message.payload for message in here.intake.committed] == [BODY]
        code, said = await mosquitto_pub(here, "-q", qos, "-t", TOPIC, "-m", "x", token="wrong")
        assert code
        assert "not authori" in said.lower()


@pytest.mark.skipif(not MOSQUITTO_PUB, reason="mosquitto_pub is not installed")
async def test_mosquitto_pub_elsewhere() -> None:
    async with door() as here:
        await mosquitto_pub(here, "-q", "1", "-t", "tenant/tenant-b/device/device-1/telemetry", "-m", BODY.decode())
        assert not here.intake.committed
        assert [outcome.reason for _, outcome in here.intake.refused] == [Reason.BAD_TOPIC_FORMAT]
