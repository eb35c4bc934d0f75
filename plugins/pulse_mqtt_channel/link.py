"""One connection to a broker, over which messages are published side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pulse_core.api import PulseError, TemporaryFailure, secured
from pulse_mqtt_channel.reasons import REFUSED, failure
from pulse_mqtt_channel.wire import AT_ONCE, Wire

if TYPE_CHECKING:
    import socket

    from paho.mqtt.reasoncodes import ReasonCode

    from pulse_core.api import Services
    from pulse_mqtt_channel.config import MqttConfig

_PATIENCE_S = 10.0
"""For one answer of the broker. The engine limits the whole attempt."""


class Limits:
    """What the broker allows (MQTT 5, 3.2.2.3)."""

    def __init__(self, properties: Any = None) -> None:
        self.most_at_once: int = min(AT_ONCE, getattr(properties, "ReceiveMaximum", AT_ONCE))
        self.highest_qos: int = getattr(properties, "MaximumQoS", 2)
        self.retains = bool(getattr(properties, "RetainAvailable", 1))
        self.longest_packet_bytes: int = getattr(properties, "MaximumPacketSize", 2**28)


class Link:
    """A connection. Made by :meth:`open`, ended by :meth:`leave` or, at any time, by :meth:`drop`."""

    def __init__(self, wire: Wire, where: str) -> None:
        self.where = where
        self.limits = Limits()
        self._wire = wire
        self._suspect = False
        loop = asyncio.get_running_loop()
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[PulseError] = loop.create_future()
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        wire.on_connect, wire.on_disconnect, wire.on_publish = self._on_connect, self._on_disconnect, self._on_publish
        wire.on_nonsense = lambda: self._end(TemporaryFailure(f"{where}: the broker said what is not MQTT"))

    @classmethod
    async def open(cls, integration: MqttConfig, services: Services) -> Link:
        """Connect through the guard, secure the connection and log in. Raises PulseError."""
        host, port, tls = integration.broker
        sock = await services.outbound.open_socket(host, port)
        where = f"{host} port {port} ({sock.getpeername()[0]})"
        if tls:
            try:
                sock = encrypted = await secured(sock, services.outbound.tls, host.rstrip("."), _PATIENCE_S)
            except TemporaryFailure as error:
                raise TemporaryFailure(f"{where}: {error}") from None
            where += f", {encrypted.version()}"
        link = cls(Wire(integration, sock), f"{where}, MQTT {integration.protocol}")
        try:
            await link._greet(host, port)
        except BaseException:
            link.drop()
            raise
        return link

    async def _greet(self, host: str, port: int) -> None:
        self._wire.begin(host, port)
        if not await self._first_of(self._greeted):
            raise TemporaryFailure(f"{self.where}, connecting: no answer within {_PATIENCE_S:g} s")
        self._room = asyncio.Semaphore(self.limits.most_at_once)

    async def _first_of(self, expected: asyncio.Future[Any]) -> bool:
        """Wait for an answer; False if there is none. Raises PulseError if the connection ends instead."""
        await asyncio.wait({expected, self._ended}, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not expected.done() and self._ended.done():
            raise self._ended.result()
        return expected.done()

    @property
    def sock(self) -> socket.socket:
        """The connection's socket, encrypted or not."""
        return self._wire.sock

    @property
    def usable(self) -> bool:
        """Whether something may be published here."""
        return not self._ended.done() and not self._suspect

    @property
    def busy(self) -> bool:
        """Whether an acknowledgement is awaited."""
        return bool(self._waiting)

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Publish, and return the reason of the last acknowledgement (0 for QoS 0, when it is sent).

        :raises TemporaryFailure: no acknowledgement. :raises PulseError: the broker refused it, and why.
        """
        async with self._room:
            reason = await self._acknowledged(topic, payload, qos, retain)
        if reason >= REFUSED:
            raise failure(reason, f"{self.where}, publishing")
        return reason

    async def _acknowledged(self, topic: str, payload: bytes, qos: int, retain: bool) -> int:
        if self._ended.done():
            raise self._ended.result()
        acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        number = self._wire.publish(topic, payload, qos, retain).mid
        self._waiting[number] = acknowledged
        try:
            if not await self._first_of(acknowledged):
                raise TemporaryFailure(f"{self.where}: no acknowledgement within {_PATIENCE_S:g} s")
        finally:
            del self._waiting[number]
            if not acknowledged.done():
                self._suspect = True  # no new messages this way; those under way may yet be acknowledged
        return acknowledged.result()

    def leave(self) -> None:
        """Say goodbye and close."""
        if not self._ended.done():
            self._wire.goodbye()
        self.drop()

    def drop(self) -> None:
        """Close at once."""
        self._wire.cut()
        self._end(TemporaryFailure(f"{self.where}: closed"))

    def _end(self, why: PulseError) -> None:
        if not self._ended.done():
            self._ended.set_result(why)

    def _on_connect(self, _client: Any, _userdata: Any, _flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.value >= REFUSED:
            self._end(failure(reason.value, f"{self.where}, connecting"))
        elif not self._greeted.done():
            self.limits = Limits(properties)
            self._greeted.set_result(None)

    def _on_disconnect(self, _client: Any, _userdata: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        doing = f"{self.where}: the broker ended the connection"
        if flags.is_disconnect_packet_from_server and reason.value >= REFUSED:
            self._end(failure(reason.value, doing))
        elif not self._greeted.done():
            self._end(TemporaryFailure(f"{doing} at once (does it speak this version of MQTT here?)"))
        else:
            self._end(TemporaryFailure(doing))

    def _on_publish(self, _client: Any, _userdata: Any, number: int, reason: ReasonCode, _properties: Any) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(reason.value)
