"""One connection from its beginning to its end: what comes is handed over, what is decided is acknowledged."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

from pulse_core.api import RawMessage, Reason, TemporaryFailure, secured
from pulse_mqtt_bridge.window import Entry, Window
from pulse_mqtt_bridge.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import Intake
    from pulse_mqtt_bridge.arrivals import Arrival
    from pulse_mqtt_bridge.config import Address, BridgeConfig
    from pulse_mqtt_bridge.topics import TopicMap
    from pulse_mqtt_bridge.wire import Grant

_LONGEST_SHOWN = 200
_LEAVE_WITHIN_S = 1.0


class Received:
    """Messages of QoS 2 that are decided, until the broker knows: by their number, as long as this process lives.

    A number alone would not do: a broker that lost its memory may give it to another message.
    """

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def note(self, packet_id: int, mark: int) -> None:
        """It is decided."""
        self._known[packet_id] = mark

    def has(self, arrival: Arrival, mark: int) -> bool:
        """Whether this is one of them, sent again."""
        return arrival.again and self._known.get(arrival.packet_id) == mark

    def forget(self, packet_id: int) -> None:
        """The broker knows."""
        self._known.pop(packet_id, None)

    def clear(self) -> None:
        """The broker has forgotten the session."""
        self._known.clear()


class Visit:
    """Made for one connection; :meth:`begin`, :meth:`until_lost`, then :meth:`leave` or :meth:`lose`."""

    def __init__(
        self, config: BridgeConfig, topics: TopicMap, source: str, intake: Intake, received: Received, log: Any
    ) -> None:
        self._config = config
        self._topics = topics
        self._source = source
        self._intake = intake
        self._received = received
        self._log = log
        self._marks: dict[int, int] = {}
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._window = Window(intake, self, config.max_undecided)
        self._wire: Wire | None = None

    async def begin(self, address: Address, filters: Sequence[str]) -> list[Grant]:
        """Connect, log in, subscribe. Raises OSError, TemporaryFailure or MqttError."""
        sock = await _connected(address, self._config)
        wire = self._wire = Wire(self._config, address, sock, self)
        await wire.open()
        if not wire.session_present:
            self._received.clear()
        return await wire.ask_for(filters, self._config.qos)

    @property
    def resumed(self) -> bool:
        """Whether the broker kept what came while we were away."""
        return self._wire is not None and self._wire.session_present

    async def until_lost(self) -> str:
        """Return, when the connection is, why it is; or that the intake raised, and nothing can be acknowledged."""
        assert self._wire is not None  # noqa: S101 - begin() comes first
        lost = asyncio.create_task(self._wire.until_lost())
        try:
            await asyncio.wait((lost, self._failure), return_when=asyncio.FIRST_COMPLETED)
            return self._failure.result() if self._failure.done() else lost.result()
        finally:
            lost.cancel()

    async def leave(self) -> None:
        """Acknowledge what is decided in time, say goodbye, close."""
        if self._wire is not None:
            self._wire.read(False)
            self._window.drain()
            try:
                async with asyncio.timeout(self._config.drain_timeout_s):
                    await self._window.settled()
            except TimeoutError:
                self._log.warning("bridge.outcomes_missing")
            try:
                await self._wire.leave(_LEAVE_WITHIN_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, the session stays, and the broker sends again
                self._log.info("bridge.left_in_haste", reason=repr(error))
        self.lose()

    def lose(self) -> None:
        """The connection is gone, or shall be."""
        self._window.close()
        if self._wire is not None:
            self._wire.cut()

    async def settled(self) -> None:
        """Return when all that was handed over has its outcome."""
        await self._window.settled()

    # What the wire says

    def arrived(self, arrival: Arrival) -> None:
        """Queue a message, unless we have it already."""
        mark = hash((arrival.topic, arrival.payload)) if arrival.qos > 1 else 0
        if arrival.qos and self._window.holds(arrival.packet_id):
            return  # sent again although it is being decided; it will be acknowledged once
        if arrival.retained or (arrival.qos > 1 and self._received.has(arrival, mark)):
            self._window.add(Entry(None, arrival.qos, arrival.packet_id))
            return
        if arrival.qos > 1:
            self._marks[arrival.packet_id] = mark
        self._window.add(Entry(self._read(arrival), arrival.qos, arrival.packet_id))

    def released(self, packet_id: int) -> None:
        """The broker knows that we have it."""
        self._received.forget(packet_id)

    # What the window says

    def decided(self, entry: Entry) -> None:
        """Remember it if it could come again as new."""
        if entry.qos > 1:
            self._received.note(entry.packet_id, self._marks.pop(entry.packet_id, 0))

    def acknowledge(self, entry: Entry) -> None:
        """It is committed, or refused for good, and so is all that came before it."""
        if self._wire is not None:
            self._wire.acknowledge(entry.qos, entry.packet_id)

    def crowded(self, crowded: bool) -> None:
        """Leave it to the broker to wait, or read on."""
        if self._wire is not None:
            self._wire.read(not crowded)

    def failed(self, error: BaseException) -> None:
        """The intake raised."""
        if not self._failure.done():
            self._failure.set_result(f"the intake failed: {error!r}")

    def _read(self, arrival: Arrival) -> RawMessage:
        named = self._topics.read(arrival.topic) if arrival.topic is not None else None
        payload = arrival.payload[: self._intake.max_payload_bytes + 1]  # more than is allowed, and no more than that
        now_us = time.time_ns() // 1000
        may_wait = arrival.qos > 0 and not self._config.refuse_over_rate
        if named is None:
            shown = "not UTF-8" if arrival.topic is None else arrival.topic[:_LONGEST_SHOWN]
            return RawMessage(
                *("", "", ""),
                payload,
                now_us,
                self._source,
                may_wait=may_wait,
                refused=Reason.BAD_TOPIC_FORMAT,
                refused_detail=shown,
            )
        return RawMessage(*named, payload, now_us, self._source, authenticated=self._config.trusted, may_wait=may_wait)


async def _connected(address: Address, config: BridgeConfig) -> socket.socket:
    """Open a connection without blocking. The operator has named the broker, so it may be anywhere."""
    loop = asyncio.get_running_loop()
    problem: OSError = OSError("no address")
    async with asyncio.timeout(config.connect_timeout_s):
        for family, kind, _, _, where in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, where)
            except OSError as error:
                sock.close()
                problem = error
            except BaseException:
                sock.close()
                raise
            else:
                break
        else:
            raise problem
    if not address.tls:
        return sock
    try:
        context = config.tls()
    except (OSError, ValueError) as error:
        sock.close()
        raise TemporaryFailure(f"ca_file, client_cert or client_key cannot be used: {error}") from error
    return await secured(sock, context, address.host, config.connect_timeout_s)
