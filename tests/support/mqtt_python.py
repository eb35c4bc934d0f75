"""Python's MQTT clients as devices: paho-mqtt, aiomqtt and gmqtt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import aiomqtt
import gmqtt
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support.mqtt_frames import MQTT5
from support.mqtt_peer import SESSION_S, Peer

_WITHIN_S = 30.0


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_S
    return properties


class Paho(Peer):
    """paho-mqtt, with its own thread."""

    _client: paho.Client | None = None

    async def connect(self) -> None:
        """With a client of its own each time: the session is the server's to remember."""
        loop, login = asyncio.get_running_loop(), self.login
        connected, self._subscribed = asyncio.Event(), asyncio.Event()
        five = login.version == MQTT5
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            login.client_id,
            clean_session=None if five else False,
            protocol=MQTTProtocolVersion(login.version),
        )
        client.username_pw_set(login.username, login.password)
        client.will_set(login.topic, login.will, qos=1)

        def on_connect(_client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
            self.present = flags.session_present
            assert code.value == 0, code
            loop.call_soon_threadsafe(connected.set)

        def on_subscribe(*_: Any) -> None:
            loop.call_soon_threadsafe(self._subscribed.set)

        def on_message(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
            loop.call_soon_threadsafe(self.heard.put_nowait, (message.topic, bytes(message.payload)))

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        options: dict[str, Any] = {"clean_start": False, "properties": _session()} if five else {}
        await asyncio.to_thread(client.connect, login.host, login.port, **options)
        client.loop_start()
        await asyncio.wait_for(connected.wait(), _WITHIN_S)

    async def subscribe(self) -> None:
        """Done when it is granted."""
        assert self._client is not None
        self._client.subscribe(self.login.commands, 1)
        await asyncio.wait_for(self._subscribed.wait(), _WITHIN_S)

    async def publish(self, payload: bytes, qos: int) -> None:
        """Done when it is acknowledged."""
        assert self._client is not None
        sent = self._client.publish(self.login.topic, payload, qos)
        await asyncio.to_thread(sent.wait_for_publish, _WITHIN_S)

    async def leave(self) -> None:
        """DISCONNECT."""
        assert self._client is not None
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def vanish(self) -> None:
        """Its thread stops, its socket is closed."""
        assert self._client is not None
        await asyncio.to_thread(self._client.loop_stop)
        self._client._sock_close()

    async def close(self) -> None:
        """Stop the thread."""
        if self._client is not None:
            await asyncio.to_thread(self._client.loop_stop)


class Aiomqtt(Peer):
    """aiomqtt, which is paho-mqtt in an event loop."""

    _client: aiomqtt.Client | None = None
    _listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """With a client of its own each time."""
        login = self.login
        five = login.version == MQTT5
        options: dict[str, Any] = {"clean_start": False, "properties": _session()} if five else {"clean_session": False}
        self._client = aiomqtt.Client(
            login.host,
            login.port,
            username=login.username,
            password=login.password,
            identifier=login.client_id,
            protocol=aiomqtt.ProtocolVersion(login.version),
            will=aiomqtt.Will(login.topic, login.will, qos=1),
            **options,
        )
        await self._client.__aenter__()
        self._listening = asyncio.create_task(self._listen(self._client))

    async def _listen(self, client: aiomqtt.Client) -> None:
        with suppress(aiomqtt.MqttError):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                self.heard.put_nowait((str(message.topic), message.payload))

    async def subscribe(self) -> None:
        """Done when it is granted."""
        assert self._client is not None
        await self._client.subscribe(self.login.commands, 1)

    async def publish(self, payload: bytes, qos: int) -> None:
        """Done when it is acknowledged."""
        assert self._client is not None
        await self._client.publish(self.login.topic, payload, qos)

    async def leave(self) -> None:
        """DISCONNECT."""
        await self.close()

    async def vanish(self) -> None:
        """Its socket is closed."""
        assert self._client is not None
        self._client._client._sock_close()

    async def close(self) -> None:
        """Leave the client's context, if it is not left."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))


class Gmqtt(Peer):
    """gmqtt, which has nothing of paho-mqtt."""

    _client: Any = None

    async def connect(self) -> None:
        """With a client of its own each time."""
        login = self.login
        will = gmqtt.Message(login.topic, login.will, qos=1)
        options = {"session_expiry_interval": SESSION_S} if login.version == MQTT5 else {}
        client = self._client = gmqtt.Client(login.client_id, clean_session=False, will_message=will, **options)
        client.set_config({"reconnect_retries": 0})
        client.set_auth_credentials(login.username, login.password)
        connected, self._subscribed = asyncio.Event(), asyncio.Event()

        def on_connect(_client: Any, flags: int, code: int, _properties: Any) -> None:
            assert code == 0
            self.present = bool(flags)
            connected.set()

        def on_message(_client: Any, topic: str, payload: bytes, _qos: int, _properties: Any) -> int:
            self.heard.put_nowait((topic, payload))
            return 0

        client.on_connect, client.on_message = on_connect, on_message
        client.on_subscribe = lambda *_: self._subscribed.set()
        await client.connect(login.host, login.port, version=login.version)
        await asyncio.wait_for(connected.wait(), _WITHIN_S)

    async def subscribe(self) -> None:
        """Done when it is granted."""
        self._client.subscribe(self.login.commands, qos=1)
        await asyncio.wait_for(self._subscribed.wait(), _WITHIN_S)

    async def publish(self, payload: bytes, qos: int) -> None:
        """Handed over: this client does not say when it is acknowledged."""
        self._client.publish(self.login.topic, payload, qos=qos)

    async def leave(self) -> None:
        """DISCONNECT."""
        await self._client.disconnect()

    async def vanish(self) -> None:
        """Its transport is aborted."""
        self._client._connection._transport.abort()

    async def close(self) -> None:
        """Abort what is left."""
        if self._client is not None and self._client.is_connected:
            await self.vanish()
