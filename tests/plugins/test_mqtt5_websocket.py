"""MQTT 5 over WebSocket (6)."""

from __future__ import annotations

import pytest

from support import mqtt5_packets as say
from support import websocket as ws
from support.mqtt5_device import CONNACK, DISCONNECT, PINGRESP, PUBACK, SUBACK, read_answer
from support.mqtt5_door import COMMANDS
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC
from support.statements import statement5
from support.websocket_door import web_door

SAID = say.connect(ALIAS, TOKEN) + say.subscribe(5, (COMMANDS, 1)) + say.publish(TOPIC, BODY, 1, 7) + say.PINGREQ


@statement5("MQTT-6.0.0-1")
@pytest.mark.parametrize("payload", [b"", b"hello", say.PINGREQ])
async def test_frames_are_binary(payload: bytes) -> None:
    async with web_door() as here, ws.opened(here.port) as device:
        device.say(say.connect(ALIAS, TOKEN))
        assert read_answer(await device.packet()).code == 0
        device.write(ws.frame(ws.TEXT, payload))
        assert await device.closed() in ([1003] if payload.isascii() else [1007, None]), "text, or not even that"
        assert not here.intake.submissions


@statement5("MQTT-6.0.0-2")
@pytest.mark.parametrize("size", [1, 2, 7, 50, len(SAID)])
async def test_packets_and_frames_begin_and_end_where_they_like(size: int) -> None:
    async with web_door() as here, ws.opened(here.port) as device:
        for start in range(0, len(SAID), size):
            device.say(SAID[start : start + size])
        told = [read_answer(await device.packet()) for _ in range(4)]
        assert told[0].kind == CONNACK
        assert {one.kind for one in told[1:]} == {SUBACK, PUBACK, PINGRESP}
        assert len(here.intake.committed) == 1


@statement5("MQTT-6.0.0-4")
async def test_the_server_chooses_the_subprotocol() -> None:
    async with web_door() as here, ws.connected(here.port) as client:
        client.write(ws.request("/mqtt", "wamp, mqtt, mqttv3.1"))
        assert b"\r\nsec-websocket-protocol: mqtt\r\n" in (await client.head()).lower()


@statement5("MQTT-4.13.1-1", "MQTT-3.14.4-2")
async def test_errors_have_their_codes() -> None:
    async with web_door() as here, ws.opened(here.port) as device:
        device.say(say.connect(ALIAS, TOKEN) + say.publish("a/#", BODY))
        assert read_answer(await device.packet()).kind == CONNACK
        told = read_answer(await device.packet())
        assert (told.kind, told.code) == (DISCONNECT, 0x90)
        assert await device.closed() is not None
