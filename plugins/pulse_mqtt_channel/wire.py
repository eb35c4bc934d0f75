"""paho-mqtt on a socket of ours and on our event loop.

paho speaks the protocol. Three of its private methods are overridden, which is why its version is bounded and each
has a test: ``_create_socket``, because the connection must be the one that the guard has checked; ``_handle_pubrec``,
because it takes a refused QoS 2 message for a delivered one; and ``_sock_close`` is called, because the public ways to
close wait for the broker.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from pulse_mqtt_channel.reasons import REFUSED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pulse_mqtt_channel.config import MqttConfig

_KEEPALIVE_S = 30
_TICK_S = 5.0
_ID_BYTES = 2
AT_ONCE = 20
"""Messages that wait for an acknowledgement."""

_log = logging.getLogger("pulse.mqtt_channel")
_log.addHandler(logging.NullHandler())
_log.propagate = False  # what paho says of a connection that breaks, the failure says already


class Wire(Client):
    """A protocol machine that reads and writes when the event loop says so."""

    def __init__(self, integration: MqttConfig, sock: socket.socket) -> None:
        five = integration.protocol == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=f"pulse-{secrets.token_hex(8)}",
            clean_session=None if five else True,
            protocol=MQTTv5 if five else MQTTv311,
            reconnect_on_failure=False,
        )
        if integration.user is not None:
            password = integration.password.get_secret_value() if integration.password else None
            self.username_pw_set(integration.user, password)
        self.enable_logger(_log)
        self.max_inflight_messages = AT_ONCE
        self.on_socket_open, self.on_socket_close = self._opened, self._closing
        self.on_socket_register_write = self._write_wanted
        self.on_socket_unregister_write = self._write_unwanted
        self.on_nonsense: Callable[[], None] = lambda: None
        self.sock = sock
        self._loop_of_ours = asyncio.get_running_loop()
        self._tick: asyncio.TimerHandle | None = None

    def begin(self, host: str, port: int) -> None:
        """Send CONNECT, for a session that ends with the connection."""
        self.connect(host, port, _KEEPALIVE_S)

    def goodbye(self) -> None:
        """Send DISCONNECT, as far as the socket takes it, and close."""
        self.disconnect()
        self.loop_write()
        self.cut()

    def cut(self) -> None:
        """Close at once."""
        self._sock_close()
        self.sock.close()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _create_socket(self) -> Any:
        return self.sock

    def _handle_pubrec(self) -> MQTTErrorCode:
        """A negative PUBREC ends a publish (MQTT 5, 4.3.3): there is nothing to release."""
        packet = bytes(self._in_packet["packet"])
        number, reason = int.from_bytes(packet[:_ID_BYTES], "big"), packet[_ID_BYTES] if len(packet) > _ID_BYTES else 0
        if reason < REFUSED or number not in self._out_messages:
            return super()._handle_pubrec()
        properties = Properties(PacketTypes.PUBREC)  # type: ignore[no-untyped-call]  # paho's
        return self._do_on_publish(number, ReasonCode(PacketTypes.PUBREC, identifier=reason), properties)

    def _opened(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._loop_of_ours.add_reader(sock.fileno(), self._read)
        self._tick = self._loop_of_ours.call_later(_TICK_S, self._keep_alive)

    def _closing(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._loop_of_ours.remove_reader(sock.fileno())

    def _write_wanted(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._loop_of_ours.add_writer(sock.fileno(), self.loop_write)

    def _write_unwanted(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._loop_of_ours.remove_writer(sock.fileno())

    def _read(self) -> None:
        try:
            while self.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS and self._has_decrypted_more():
                pass
        except Exception:  # noqa: BLE001 - paho raises what comes of a packet that is none
            self.cut()
            self.on_nonsense()

    def _has_decrypted_more(self) -> bool:
        """TLS decrypts a record at a time: what is left of it does not make the socket readable."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and pending() > 0

    def _keep_alive(self) -> None:
        self._tick = None
        if self.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._tick = self._loop_of_ours.call_later(_TICK_S, self._keep_alive)
