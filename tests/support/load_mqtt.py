"""One device's connection of an MQTT load run: connects for as long as it takes, and sends what is due.

What a message's acknowledgement is, and what is said again after a reconnect, is its QoS's: :mod:`support.load_qos`.
"""

from __future__ import annotations

import asyncio
import collections
import random
import ssl
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, cast

from support.load_wire import LAST_ID, now_ms, receive_maximum

if TYPE_CHECKING:
    from support.load_stats import Load
    from support.load_wire import DeviceWords

MOST_IN_FLIGHT = 240
"""In an open-loop run too; what is over waits its turn, and the wait counts."""
_CONNACK = 0x20


class MqttLoad(asyncio.Protocol, ABC):
    """Sends numbered messages of one device and takes their acknowledgements, whatever happens in between."""

    def __init__(self, load: Load, number: int, words: DeviceWords) -> None:
        self._load = load
        self._number = number
        self._words = words
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._stamps: collections.deque[float] = collections.deque()
        self._late: collections.deque[float] = collections.deque()
        self._sent = 0
        self._last_ts = 0
        self._welcome = False
        self._most_in_flight = MOST_IN_FLIGHT
        self.connected = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """Messages sent and not done with."""

    @abstractmethod
    def begin(self) -> None:
        """Logged in: say again what has no answer."""

    @abstractmethod
    def note_sent(self, packets: list[bytes]) -> bytes:
        """These PUBLISH packets are sent now; return what goes after them."""

    @abstractmethod
    def take(self, data: bytes) -> None:
        """Take answers."""

    def start(self, after_s: float = 0.0) -> None:
        """Connect, now or a little later, for as long as it takes."""
        self._connecting = asyncio.create_task(self._connect(after_s))

    async def _connect(self, after_s: float) -> None:
        loop, spec = asyncio.get_running_loop(), self._load.spec
        tls = trusting(spec.tls_ca) if spec.tls_ca else None
        while True:
            await asyncio.sleep(after_s)
            try:
                await loop.create_connection(
                    lambda: self, spec.host, spec.port, ssl=tls, server_hostname="localhost" if tls else None
                )
            except OSError:
                after_s = random.uniform(0.05, 0.3)
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._rest, self._welcome = cast("asyncio.Transport", transport), b"", False
        self._transport.write(self._words.connect())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._load.sending or self.in_flight:
            self._load.result.reconnects += 1
            self.start(random.uniform(0.05, 0.3))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        self._rest = b""
        if not self._welcome:
            if len(data) < 4 or len(data) < 2 + data[1]:
                self._rest = data
                return
            end = 2 + data[1]
            self._welcomed(data[:end])
            data = data[end:]
        if data:
            self.take(data)

    def close(self) -> None:
        """Stop, whatever is in flight."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def send(self, count: int, due_s: float | None = None) -> None:
        """Send ``count`` new messages in one write. ``due_s``: when they should have gone, if their time counts."""
        if due_s is not None:
            self._late.extend([due_s] * count)
            count = min(len(self._late), self._most_in_flight - self.in_flight)
        if count <= 0 or not self._welcome or self._transport is None:
            return
        if due_s is not None:
            self._stamps.extend(self._late.popleft() for _ in range(count))
        words, ts, base = self._words, max(now_ms(), self._last_ts + 1), self._sent
        first = self._load.spec.first_seq + base
        packets = [words.publish((base + n) % LAST_ID + 1, ts + n, first + n) for n in range(count)]
        self._sent, self._last_ts = base + count, ts + count - 1
        self._load.result.sent += count
        self._transport.write(b"".join(packets) + self.note_sent(packets))

    def say(self, data: bytes) -> None:
        """Write something, if there is a connection."""
        if self._transport is not None and data:
            self._transport.write(data)

    def acknowledged(self, first: int, count: int, now_s: float) -> None:
        """``count`` messages are safe with the peer, from the ``first``-th one (counted from 0) on."""
        load = self._load
        if load.timed:
            load.took_all(now_s, [self._stamps.popleft() for _ in range(count)])
        load.acknowledged(self._number, load.spec.first_seq + first, count)

    def fill(self) -> None:
        """In a closed-loop run: send as many as may be under way, once all connections have been up."""
        if not self._load.timed and self._load.begun and self._load.sending:
            self.send(self._load.spec.window - self.in_flight)

    def go_on(self, count: int) -> None:
        """So many messages are done with: send as many new ones, or those that are late."""
        if not self._load.sending:
            return
        if not self._load.timed:
            self.send(count)
        elif self._late:
            self.send(0, self._late[0])

    def give_up(self, *, out_of_order: bool) -> None:
        """The peer breaks the protocol, or refuses a message: connect anew."""
        self._load.result.out_of_order += out_of_order
        self._load.result.refused += not out_of_order
        if self._transport is not None:
            self._transport.abort()

    def _welcomed(self, answer: bytes) -> None:
        if answer[0] != _CONNACK or answer[3]:
            self._load.result.out_of_order += answer[0] != _CONNACK
            self._load.result.tried_again += answer[0] == _CONNACK
            assert self._transport is not None
            self._transport.abort()
            return
        self._welcome = True
        self._most_in_flight = min(MOST_IN_FLIGHT, receive_maximum(answer))
        self.begin()
        self.fill()
        self.connected.set()


@cache
def trusting(ca: str) -> ssl.SSLContext:
    """A client's context that trusts this certificate authority (a PEM file) alone; one a process."""
    return ssl.create_default_context(cafile=ca)
