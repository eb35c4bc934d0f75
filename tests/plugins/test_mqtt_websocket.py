"""MQTT over WebSocket behind the server that the product runs: the same connections, in frames."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from pulse_core.api import DeviceKey, Ending
from support import mqtt311 as mqtt
from support import websocket as ws
from support.mqtt_door import ACCEPTED, ALIAS, BODY, TOKEN, TOPIC
from support.statements import statement311
from support.waiting import until
from support.websocket_door import web_door

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def paho_session(port: int) -> list[int]:
    client = paho.Client(
        CallbackAPIVersion.VERSION2, "paho-1", protocol=MQTTProtocolVersion.MQTTv311, transport="websockets"
    )
    codes: list[int] = []
    client.on_connect = lambda _client, _data, _flags, code, _properties: codes.append(code.value)
    client.username_pw_set(ALIAS, TOKEN)
    client.connect("127.0.0.1", port, keepalive=5)
    client.loop_start()
    try:
        sent = [client.publish(TOPIC, BODY, qos) for _ in range(10) for qos in (0, 1, 2)]
        for one in sent:
            one.wait_for_publish(20)
            assert one.rc == MQTTErrorCode.MQTT_ERR_SUCCESS
            assert one.is_published()
    finally:
        client.disconnect()
        client.loop_stop()
    return codes


async def test_paho() -> None:
    async with web_door() as here:
        assert await asyncio.to_thread(paho_session, here.port) == [0]
        assert len(here.intake.committed) == 30


async def test_acknowledged_after_the_commit_and_told_of_in_the_connection_history() -> None:
    async with web_door() as here, ws.logged_in(here.port, ALIAS, TOKEN) as device:
        here.intake.hold()
        device.say(mqtt.publish(TOPIC, BODY, packet_id=7))
        await until(lambda: here.intake.pending)
        device.say(mqtt.PINGREQ)
        assert await device.packet() == mqtt.PINGRESP
        here.intake.release()
        assert await device.packet() == mqtt.puback(7)
        device.say(mqtt.DISCONNECT)
        assert await device.closed() == 1000
        [(key, told, endings)] = here.intake.connections
        await until(lambda: endings == [Ending.CLIENT_CLOSED])
        assert key == DeviceKey("tenant-a", "device-1")
        assert told == {"protocol": "mqtt-ws/3.1.1", "address": "127.0.0.1", "client_id": "client-1"}


@statement311("MQTT-6.0.0-2")
async def test_packets_need_not_begin_or_end_with_frames() -> None:
    """[MQTT-6.0.0-2]: one byte a frame, one byte a fragment, and all in one frame."""
    said = mqtt.connect(ALIAS, TOKEN) + mqtt.publish(TOPIC, BODY, packet_id=7) + mqtt.PINGREQ
    single = b"".join(ws.frame(ws.BINARY, bytes([byte])) for byte in said)
    fragments = [ws.frame(bool(i == 0) * ws.BINARY, said[i : i + 1], fin=False) for i in range(len(said))]
    fragments.insert(5, ws.frame(ws.PING, b"in between"))
    empty = ws.frame(ws.BINARY, b"") * 500
    async with web_door() as here:
        for stream in (single, b"".join(fragments), empty + ws.frame(ws.BINARY, said)):
            async with ws.opened(here.port) as device:
                device.write(stream)
                assert await device.packet() == ACCEPTED
                answers = {await device.packet(), await device.packet()}
                assert answers == {mqtt.puback(7), mqtt.PINGRESP}


@pytest.mark.parametrize("protocol", [None, "mqttv3.1", "wamp, graphql-ws"])
async def test_without_the_subprotocol(protocol: str | None) -> None:
    """[MQTT-6.0.0-3]."""
    async with web_door() as here, ws.connected(here.port) as client:
        client.write(ws.request("/mqtt", protocol))
        assert (await client.head()).startswith(b"HTTP/1.1 400 ")


@statement311("MQTT-6.0.0-4")
async def test_among_others_the_subprotocol_is_found() -> None:
    async with web_door() as here, ws.connected(here.port) as client:
        client.write(ws.request("/mqtt/", "mqttv3.1, mqtt", "Origin: https://elsewhere.test", "Cookie: a=b"))
        answer = (await client.head()).lower()
        assert answer.startswith(b"http/1.1 101 ")
        assert b"sec-websocket-protocol: mqtt\r\n" in answer
        assert b"sec-websocket-extensions" not in answer


@statement311("MQTT-6.0.0-1")
async def test_text_is_shown_the_door() -> None:
    """[MQTT-6.0.0-1]."""
    async with web_door() as here:
        for wrong in (ws.frame(ws.TEXT, b"hello"), ws.frame(ws.TEXT, b""), ws.frame(ws.TEXT, b"h", fin=False)):
            async with ws.logged_in(here.port, ALIAS, TOKEN) as device:
                device.write(wrong)
                assert await device.closed() == 1003


async def test_plain_http_is_told_what_this_is() -> None:
    async with web_door() as here:
        for path, status in (("/mqtt", 426), ("/mqtt/elsewhere", 404)):
            async with ws.connected(here.port) as client:
                client.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
                answer = (await client.head()).lower()
                assert answer.startswith(b"http/1.1 %d " % status)
                assert (b"upgrade: websocket" in answer) == (status == 426)


async def test_websockets_elsewhere_are_turned_away_and_longer_paths_stay_their_owners() -> None:
    seen: list[str] = []

    async def auth(scope: MutableMapping[str, Any], _receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with web_door([("/mqtt/auth", auth)]) as here:
        for path in ("/mqtt/auth", "/mqtt/elsewhere", "/elsewhere", "/healthz"):
            async with ws.connected(here.port) as client:
                client.write(ws.request(path))
                assert (await client.head()).startswith(b"HTTP/1.1 404 ")
        async with ws.connected(here.port) as client:
            client.write(b"POST /mqtt/auth HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n")
            assert (await client.head()).startswith(b"HTTP/1.1 204 ")
        assert seen == ["http"]


async def test_it_can_be_switched_off() -> None:
    async with web_door(websocket=False) as here, ws.connected(here.port) as client:
        client.write(ws.request())
        assert (await client.head()).startswith(b"HTTP/1.1 404 ")


async def test_who_does_not_log_in_is_sent_away() -> None:
    async with web_door(connect_timeout_s=0.2) as here, ws.opened(here.port) as silent:
        async with ws.opened(here.port) as slow:
            slow.say(mqtt.connect(ALIAS, TOKEN)[:-3])
            await slow.closed()
        await silent.closed()
        await until(lambda: not here.intake.connections)


async def test_a_refused_login_is_answered() -> None:
    async with web_door() as here, ws.opened(here.port) as device:
        device.say(mqtt.connect(ALIAS, "wrong"))
        assert await device.packet() == b"\x20\x02\x00\x05"
        assert await device.closed() == 1000


async def test_a_revoked_device_is_closed_and_a_second_login_takes_over() -> None:
    async with web_door() as here, ws.logged_in(here.port, ALIAS, TOKEN) as one:
        async with ws.logged_in(here.port, ALIAS, TOKEN) as two:
            assert await one.closed() == 1000
            here.intake.revoke(DeviceKey("tenant-a", "device-1"))
            assert await two.closed() == 1000
        await until(lambda: [ends for *_, ends in here.intake.connections] == [[Ending.TAKEN_OVER], [Ending.REVOKED]])


async def test_a_connection_that_is_lost() -> None:
    async with web_door() as here:
        async with ws.logged_in(here.port, ALIAS, TOKEN) as device:
            device.writer.transport.abort()
            await until(lambda: here.intake.connections[0][2] == [Ending.LOST])
        async with ws.logged_in(here.port, ALIAS, TOKEN) as device:
            device.write(ws.frame(ws.CLOSE, b"\x03\xe8"))
            assert await device.closed() == 1000
            await until(lambda: here.intake.connections[1][2] == [Ending.LOST])


async def test_a_stop_waits_for_what_is_undecided_and_acknowledges_it() -> None:
    async with web_door() as here, ws.logged_in(here.port, ALIAS, TOKEN) as device:
        here.intake.hold()
        device.say(mqtt.publish(TOPIC, BODY, packet_id=7))
        await until(lambda: here.intake.pending)
        stopping = asyncio.create_task(here.stop())
        await until(lambda: here.intake.receiving_log[-1] is False)
        here.intake.release()
        assert await device.packet() == mqtt.puback(7)
        assert await device.closed() == 1000
        await stopping
        [(_, _, endings)] = here.intake.connections
        assert endings == [Ending.SERVER_STOPPED]


async def test_who_is_not_read_is_read_on_later() -> None:
    """Reading stops when there is no room, and nothing is lost."""
    count = 600
    async with web_door() as here, ws.logged_in(here.port, ALIAS, TOKEN) as device:
        here.intake.fill()
        for number in range(1, count + 1):
            device.say(mqtt.publish(TOPIC, BODY, packet_id=number))
        await until(lambda: here.intake.turned_away)
        here.intake.make_room()
        for number in range(1, count + 1):
            assert await device.packet() == mqtt.puback(number)
        assert len(here.intake.committed) == count


async def test_a_peer_that_never_reads_is_dropped() -> None:
    async with web_door(send_buffer=8192, write_timeout_s=0.5) as here, ws.logged_in(here.port, ALIAS, TOKEN) as device:
        device.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        with pytest.raises(ConnectionError):
            await ping_for_ever(device)
        [(_, _, endings)] = here.intake.connections
        await until(lambda: endings == [Ending.NOT_READING])


async def ping_for_ever(device: ws.WebSocket) -> None:
    many = ws.frame(ws.BINARY, mqtt.PINGREQ * 20_000)
    async with asyncio.timeout(60):
        while True:
            device.write(many)
            await device.writer.drain()
