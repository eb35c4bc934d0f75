"""One connection of an HTTP load run: kept alive, one request in flight, tried again until there is an answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import time
from typing import TYPE_CHECKING, cast

from support.load_wire import DeviceWords, batch_request, now_ms

if TYPE_CHECKING:
    from support.load_stats import Load

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ALL_ACCEPTED = re.compile(rb'"accepted": *(\d+)')
_AGAIN = (b"429", b"503")
_PAUSE_S = 0.05


class HttpLoad(asyncio.Protocol):
    """Posts messages of its own devices, singly or in batches."""

    def __init__(self, load: Load, devices: list[tuple[int, DeviceWords]]) -> None:
        self._load = load
        self._devices = itertools.cycle(devices)
        self._seq = dict.fromkeys((number for number, _ in devices), load.spec.first_seq)
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._request = b""
        self._messages: list[tuple[int, int]] = []
        self._sent_s = 0.0
        self._ts = 0
        self.connected = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Messages sent and not answered."""
        return len(self._messages)

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
        self._transport, self._buffer = cast("asyncio.Transport", transport), b""
        self.connected.set()
        if self._messages:
            self._transport.write(self._request)
        elif self._load.sending and not self._load.timed:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._load.sending or self._messages:
            self._load.result.reconnects += 1
            self.start(random.uniform(0.05, 0.3))

    def fill(self) -> None:
        """It sends from the first on: nobody has to log in."""

    def close(self) -> None:
        """Stop, whatever is in flight."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._buffer, 0, end)
        length = int(found[1]) if found else 0
        if len(self._buffer) >= end + 4 + length:
            answer, self._buffer = self._buffer[: end + 4 + length], b""
            self._answered(answer[9:12], answer[end + 4 :])

    def send(self, count: int, due_s: float | None = None) -> None:
        """Post the next request of an open-loop run, unless the last one is still unanswered."""
        if due_s is not None and count and not self._messages:
            self._next()

    def _next(self) -> None:
        if self._transport is None:
            return
        spec, self._ts = self._load.spec, max(now_ms(), self._ts + 1)
        if spec.way == "http":
            number, words = next(self._devices)
            self._messages = [(number, self._number_of(number))]
            self._request = words.post(self._ts, self._messages[0][1])
        else:
            chosen = [next(self._devices) for _ in range(spec.batch)]
            self._messages = [(number, self._number_of(number)) for number, _ in chosen]
            stamped = enumerate(zip(chosen, self._messages, strict=True), self._ts)
            self._request = batch_request([words.in_batch(ts, seq) for ts, ((_, words), (_, seq)) in stamped])
            self._ts += spec.batch
        self._load.result.sent += len(self._messages)
        self._sent_s = time.monotonic()
        self._transport.write(self._request)

    def _number_of(self, device: int) -> int:
        seq = self._seq[device]
        self._seq[device] = seq + 1
        return seq

    def _answered(self, status: bytes, body: bytes) -> None:
        if status in _AGAIN:
            self._load.result.tried_again += 1
            asyncio.get_running_loop().call_later(_PAUSE_S, self._again)
            return
        accepted = self._accepted(status, body)
        self._load.took_all(time.monotonic(), [self._sent_s])
        self._load.result.refused += len(self._messages) - len(accepted)
        for number, seq in accepted:
            self._load.acknowledged(number, seq, 1)
        self._messages = []
        if self._load.sending and not self._load.timed:
            self._next()

    def _accepted(self, status: bytes, body: bytes) -> list[tuple[int, int]]:
        if status not in {b"200", b"202", b"207"}:
            return []
        found = _ALL_ACCEPTED.search(body)
        if self._load.spec.way == "http" or (found and int(found[1]) == len(self._messages)):
            return self._messages
        results = json.loads(body)["results"]
        return [self._messages[one["index"]] for one in results if one["status"] == "accepted"]

    def _again(self) -> None:
        if self._transport is not None:
            self._transport.write(self._request)
