"""One connection to the broker: aiomqtt, taught to acknowledge after the commit.

aiomqtt acknowledges a message before anybody has seen it, and its queue either has no bound or drops what is beyond.
Manual acknowledgement exists only on the paho client inside, which is private: ``_client`` with ``manual_ack_set`` and
``ack``. paho, in turn, answers PUBLISH of QoS 2 with PUBREC at once, manual acknowledgement or not, and with PUBREC the
broker forgets the message: so we stand in for ``_handle_publish`` and ``_handle_pubrel``, which read ``_in_packet``;
PUBREC (``_send_pubrec``) follows the commit, and PUBCOMP (``_send_pubcomp``) PUBREL. ``_create_socket`` gives paho a
socket that was opened without blocking, ``_sock_close`` closes without waiting for the broker. Hence the bounds on both
versions, the self-check of :mod:`pulse_mqtt_bridge.selfcheck`, and a test for each of these names.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from pulse_core.api import PermanentFailure
from pulse_mqtt_bridge.arrivals import Arrival, read_publish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_mqtt_bridge.config import Address, BridgeConfig

LARGEST_PACKET = 1024 * 1024
"""What is larger the broker does not send us (MQTT 5): a payload may be 256 KB at most, whatever the settings."""
_PACKETS_AT_ONCE = 100
_REFUSED = 0x80
_NO_RETAINED = 2
_ID_BYTES = 2
_UNREAD = 65_536

_log = logging.getLogger("pulse.mqtt_bridge")
_log.addHandler(logging.NullHandler())
_log.propagate = False  # what paho says of a connection that breaks, we say already


class Owner(Protocol):
    """Who is told what comes."""

    def arrived(self, arrival: Arrival) -> None:
        """A message. Acknowledge it with :meth:`Wire.acknowledge`, once."""

    def released(self, packet_id: int) -> None:
        """The broker knows that we have a message of QoS 2; its number may now mean another one."""


class Grant(NamedTuple):
    """The broker's answer to one filter: the QoS, or why not."""

    topic_filter: str
    qos: int
    refusal: str | None


class Wire(aiomqtt.Client):
    """A connection over a socket of ours. Made and logged in by :meth:`open`, ended by :meth:`leave` or :meth:`cut`."""

    def __init__(self, config: BridgeConfig, address: Address, sock: socket.socket, owner: Owner) -> None:
        five = config.protocol == "5"
        super().__init__(
            address.host,
            address.port,
            username=config.user,
            password=config.password.get_secret_value() if config.password else None,
            identifier=config.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            keepalive=config.keepalive_s,
            timeout=config.connect_timeout_s,
            properties=_connect_properties(config) if five else None,
            logger=_log,
            **({"clean_start": False} if five else {"clean_session": False}),  # type: ignore[arg-type]
        )
        self.session_present = False
        """Whether the broker has kept our session."""
        self._five = five
        self._owner = owner
        self._sock = sock
        self._reading = True
        self._count = 0
        self._take_over()

    def _take_over(self) -> None:
        paho = self._client
        paho.manual_ack_set(True)
        paho._create_socket = lambda: self._sock  # type: ignore[method-assign]  # noqa: SLF001 - see the top
        paho._handle_publish = self._handle_publish  # type: ignore[method-assign]  # noqa: SLF001
        paho._handle_pubrel = self._handle_pubrel  # type: ignore[method-assign]  # noqa: SLF001

    async def open(self) -> None:
        """Log in, for a session that outlives the connection. Raises MqttError."""
        await self.__aenter__()
        self.read(self._reading)

    async def ask_for(self, filters: Sequence[str], qos: int) -> list[Grant]:
        """Subscribe, and return what the broker says to each filter. Raises MqttError."""
        wanted: Any = [(each, qos) for each in filters]
        if self._five:
            wanted = [(each, SubscribeOptions(qos=qos, retainHandling=_NO_RETAINED)) for each in filters]
        answers: Any = await self.subscribe(wanted)
        grants = []
        for topic_filter, answer in zip(filters, answers, strict=False):
            code = int(getattr(answer, "value", answer))
            grants.append(Grant(topic_filter, code, str(answer) if code >= _REFUSED else None))
        return grants

    async def until_lost(self) -> str:
        """Return, when the connection is, why it is. Messages go to the owner, never to aiomqtt's queue."""
        try:
            await anext(self.messages)
        except aiomqtt.MqttError as error:
            return str(error.__cause__ or error)
        raise PermanentFailure("a message went past the bridge")

    def acknowledge(self, qos: int, packet_id: int) -> None:
        """PUBACK, or PUBREC: the message is committed, or refused for good. Nothing for QoS 0."""
        if qos == 1:
            self._client.ack(packet_id, qos)
        elif qos:
            self._client._send_pubrec(packet_id)  # noqa: SLF001 - ack() would send PUBCOMP

    def read(self, wanted: bool) -> None:
        """Read from the connection, or leave it to the broker to wait (that it is there is not asked meanwhile)."""
        self._reading = wanted
        if self._sock.fileno() < 0:
            return
        if wanted:
            self._loop.add_reader(self._sock.fileno(), self._read)
            self._loop.call_soon(self._read)  # what TLS has decrypted already does not make the socket readable
        else:
            self._loop.remove_reader(self._sock.fileno())

    async def leave(self, within_s: float) -> None:
        """Send what was written, then DISCONNECT; the session stays. Raises MqttError, OSError or TimeoutError.

        paho closes at once, and whoever closes with something unread makes TCP throw away what the broker has not read
        yet: acknowledgements. So the connection is held until the broker has hung up.
        """
        held = socket.socket(fileno=os.dup(self._sock.fileno()))
        try:
            async with asyncio.timeout(within_s):
                await self.__aexit__(None, None, None)
                held.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(held, _UNREAD):
                    pass
        finally:
            held.close()

    def cut(self) -> None:
        """Close at once."""
        if self._client.socket() is not None:
            self._client._sock_close()  # noqa: SLF001 - disconnect() would wait for the broker
        self._sock.close()
        if self._misc_task is not None:
            self._misc_task.cancel()
        for future in (self._connected, self._disconnected):
            if future.done() and not future.cancelled():
                future.exception()  # nobody else asks

    # What paho calls

    def _read(self) -> None:
        """Read what has come, some messages at a time, so that they are handed over together."""
        try:
            for _ in range(_PACKETS_AT_ONCE):
                before = self._count
                if not self._reading or self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
                if self._count == before and not self._has_decrypted_more():
                    break
        except Exception as error:  # noqa: BLE001 - paho raises what comes of a packet that is none
            if not self._disconnected.done():
                self._disconnected.set_exception(aiomqtt.MqttError(f"what came is not MQTT: {error!r}"))
            self._client._sock_close()  # noqa: SLF001

    def _has_decrypted_more(self) -> bool:
        """TLS decrypts a record at a time: what is left of it does not make the socket readable."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and self._sock.fileno() >= 0 and pending() > 0

    def _handle_publish(self) -> MQTTErrorCode:
        """Hand a message over when it comes; paho would keep one of QoS 2 until PUBREL, which follows our PUBREC."""
        packet = self._client._in_packet  # noqa: SLF001
        try:
            arrival = read_publish(packet["command"], bytes(packet["packet"]), five=self._five)
        except ValueError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._count += 1
        self._owner.arrived(arrival)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_pubrel(self) -> MQTTErrorCode:
        packet_id = int.from_bytes(self._client._in_packet["packet"][:_ID_BYTES], "big")  # noqa: SLF001
        self._owner.released(packet_id)
        return self._client._send_pubcomp(packet_id)  # noqa: SLF001

    # What aiomqtt makes of it

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        self.session_present = bool(flags.session_present)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        """Without this, who hangs up instead of CONNACK is waited for."""
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the broker hung up before it answered"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)


def _connect_properties(config: BridgeConfig) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = config.session_expiry_s
    properties.ReceiveMaximum = config.max_undecided
    properties.MaximumPacketSize = LARGEST_PACKET
    return properties
