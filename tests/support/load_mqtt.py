"""One device's connection of an MQTT load run: pipelined QoS 1, resent with DUP after every reconnect."""

from __future__ import annotations

import asyncio
import collections
import random
import time
from typing import TYPE_CHECKING, cast

from support.load_wire import LAST_ID, PUBACKS, DeviceWords, now_ms

if TYPE_CHECKING:
    from support.load_stats import Load

_WELCOME = b"\x20\x02\x00\x00"
_DUP = b"\x3a"
MOST_IN_FLIGHT = 240
"""In an open-loop run too; what is over waits its turn, and the wait counts."""


class MqttLoad(asyncio.Protocol):
    """Sends numbered messages of one device and takes their acknowledgements, whatever happens in between."""

    def __init__(self, load: Load, number: int, words: DeviceWords) -> None:
        self._load = load
        self._number = number
        self._words = words
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._unacknowledged: collections.deque[bytes] = collections.deque()
        self._stamps: collections.deque[float] = collections.deque()
        self._late: collections.deque[float] = collections.deque()
        self._next_seq = self._oldest_seq = load.spec.first_seq
        self._last_ts = 0
        self._welcome = False
        self.connected = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Messages sent and not acknowledged."""
        return len(self._unacknowledged)

    def start(self, after_s: float = 0.0) -> None:
        """Connect, now or a little later, for as long as it takes."""
        self._connecting = asyncio.create_task(self._connect(after_s))

    async def _connect(self, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(after_s)
            try:
                await loop.create_connection(lambda: self, self._load.spec.host, self._load.spec.port)
            except OSError:
                after_s = random.uniform(0.05, 0.3)
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._rest, self._welcome = cast("asyncio.Transport", transport), b"", False
        self._transport.write(self._words.connect())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._load.sending or self._unacknowledged:
            self._load.result.reconnects += 1
            self.start(random.uniform(0.05, 0.3))

    def data_received(self, data: bytes) -> None:
        if not self._welcome:
            data = self._rest + data
            if len(data) < len(_WELCOME):
                self._rest = data
                return
            self._welcomed(data[:4])
            data, self._rest = data[4:], b""
        if data:
            self._take_acknowledgements(data)

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
            count = min(len(self._late), MOST_IN_FLIGHT - self.in_flight)
        if count <= 0 or not self._welcome or self._transport is None:
            return
        if due_s is not None:
            self._stamps.extend(self._late.popleft() for _ in range(count))
        words, ts, first = self._words, max(now_ms(), self._last_ts + 1), self._next_seq
        base = first - self._load.spec.first_seq
        packets = [words.publish((base + n) % LAST_ID + 1, ts + n, first + n) for n in range(count)]
        self._next_seq, self._last_ts = first + count, ts + count - 1
        self._unacknowledged.extend(packets)
        self._load.result.sent += count
        self._transport.write(b"".join(packets))

    def _welcomed(self, answer: bytes) -> None:
        assert self._transport is not None
        if answer != _WELCOME:
            self._load.result.refused += answer[:2] == b"\x20\x02"
            self._transport.abort()
            return
        self._welcome = True
        if self._unacknowledged:
            self._transport.write(b"".join([_DUP + packet[1:] for packet in self._unacknowledged]))
        if not self._load.timed and self._load.sending:
            self.send(self._load.spec.window - self.in_flight)
        self.connected.set()

    def _take_acknowledgements(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        count, odd = divmod(len(data), 4)
        self._rest = data[-odd:] if odd else b""
        first_id = (self._oldest_seq - self._load.spec.first_seq) % LAST_ID
        if PUBACKS[4 * first_id : 4 * (first_id + count)] != data[: 4 * count]:
            count = self._taken_one_by_one(data[: 4 * count])
        self._retire(count)

    def _taken_one_by_one(self, data: bytes) -> int:
        """How many of these acknowledgements are the next ones: all of them, unless the peer breaks the order."""
        expected = self._oldest_seq - self._load.spec.first_seq
        count = 0
        for start in range(0, len(data), 4):
            packet_id = (expected + count) % LAST_ID + 1
            if data[start : start + 4] != b"\x40\x02" + packet_id.to_bytes(2, "big"):
                self._load.result.out_of_order += 1
                assert self._transport is not None
                self._transport.abort()
                break
            count += 1
        return count

    def _retire(self, count: int) -> None:
        load = self._load
        for _ in range(count):
            self._unacknowledged.popleft()
        if load.timed:
            now = time.monotonic()
            load.took_all(now, [self._stamps.popleft() for _ in range(count)])
        if count:
            load.acknowledged(self._number, self._oldest_seq, count)
        self._oldest_seq += count
        if not load.sending:
            return
        if load.timed:
            if self._late:
                self.send(0, self._late[0])
        else:
            self.send(count)
