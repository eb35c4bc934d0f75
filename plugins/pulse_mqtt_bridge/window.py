"""What one connection has brought and is not acknowledged yet, in the order in which it came.

Messages are submitted in that order and acknowledged in that order (MQTT 5, 4.6). Once one is to come again later,
nothing more is submitted until all that was has its outcome; then whatever is left goes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from pulse_core.api import Verdict

if TYPE_CHECKING:
    from pulse_core.api import Intake, Outcome, RawMessage

MOST_BYTES = 64 * 1024 * 1024
"""Undecided bytes; as the platform's own limit."""
_AT_ONCE = 500
_ROOM_AGAIN = 0.75
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0


class Entry:
    """A message, and what it is owed."""

    __slots__ = ("decided", "message", "packet_id", "qos", "size")

    def __init__(self, message: RawMessage | None, qos: int, packet_id: int) -> None:
        self.message = message
        """None: decided already, to be acknowledged in its turn."""
        self.qos = qos
        self.packet_id = packet_id
        self.size = len(message.payload) if message else 0
        self.decided = message is None


class Owner(Protocol):
    """Whose window it is."""

    def decided(self, entry: Entry) -> None:
        """It is committed, or refused for good. Told at once, and also when the connection is gone."""

    def acknowledge(self, entry: Entry) -> None:
        """It is its turn."""

    def crowded(self, crowded: bool) -> None:
        """Stop reading, or go on."""

    def failed(self, error: BaseException) -> None:
        """The intake broke its promise; nothing can be acknowledged any more."""


class Window:
    """See above. :meth:`add` what comes; :meth:`drain`, or :meth:`close`, at the end; then :meth:`settled`."""

    def __init__(self, intake: Intake, owner: Owner, most_messages: int) -> None:
        self._intake = intake
        self._owner = owner
        self._most = most_messages
        self._held: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()
        self._ids: set[int] = set()
        self._bytes = 0
        self._crowded = False
        self._under_way: dict[asyncio.Future[list[Outcome]], list[Entry]] = {}
        self._stopped = False
        self._closed = False
        self._flushing = False
        self._retrying: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def holds(self, packet_id: int) -> bool:
        """Whether a message of this number awaits its acknowledgement."""
        return packet_id in self._ids

    def add(self, entry: Entry) -> None:
        """Take a message; it is submitted with what comes in the same turn of the loop."""
        self._held.append(entry)
        self._bytes += entry.size
        if entry.qos:
            self._ids.add(entry.packet_id)
        if entry.message is not None:
            self._waiting.append(entry)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def drain(self) -> None:
        """Submit no more: what was, is decided and acknowledged; what was not stays the broker's."""
        self._stopped = True
        self._waiting.clear()
        if self._retrying is not None:
            self._retrying.cancel()

    def close(self) -> None:
        """The connection is gone: nobody is left to acknowledge to."""
        self._closed = True
        self.drain()
        self._held.clear()
        self._ids.clear()

    async def settled(self) -> None:
        """Return when all that was submitted has its outcome."""
        await self._idle.wait()

    def _flush(self) -> None:
        self._flushing = False
        for future in [each for each in self._under_way if each.done()]:
            self._settle(future)  # nothing may go past one that was sent back a moment ago
        self._release()
        while self._waiting and self._retrying is None and not self._stopped:
            batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                self._hand_over(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing can be acknowledged
                self._owner.failed(error)
                break

    def _hand_over(self, batch: list[Entry]) -> asyncio.Future[list[Outcome]]:
        messages = [entry.message for entry in batch if entry.message is not None]
        future = asyncio.ensure_future(self._intake.submit(messages))
        self._under_way[future] = batch
        self._idle.clear()
        if future.done():
            self._settle(future)
        else:
            future.add_done_callback(self._settle)
        return future

    def _settle(self, future: asyncio.Future[list[Outcome]]) -> None:
        batch = self._under_way.pop(future, None)
        if batch is None:
            return
        if not self._under_way:
            self._idle.set()
        if future.cancelled() or (error := future.exception()) is not None:
            self._owner.failed(asyncio.CancelledError() if future.cancelled() else error or asyncio.CancelledError())
            return
        later = False
        for entry, outcome in zip(batch, future.result(), strict=True):
            if outcome.verdict is Verdict.RETRY_LATER:
                later = True
            else:
                entry.decided, entry.message = True, None
                self._owner.decided(entry)
        if later and not self._stopped and self._retrying is None:
            self._retrying = asyncio.get_running_loop().create_task(self._retry())
            self._retrying.add_done_callback(self._retried)
        self._release()

    def _release(self) -> None:
        held = self._held
        while held and held[0].decided:
            entry = held.popleft()
            self._bytes -= entry.size
            self._ids.discard(entry.packet_id)
            self._owner.acknowledge(entry)
        self._look_round()

    def _look_round(self) -> None:
        share = _ROOM_AGAIN if self._crowded else 1.0
        crowded = len(self._held) > self._most * share or self._bytes > MOST_BYTES * share
        if crowded is not self._crowded and not self._closed:
            self._crowded = crowded
            self._owner.crowded(crowded)

    async def _retry(self) -> None:
        """Submit what is left, oldest first, when there is room; at most :data:`_AT_ONCE` at a time.

        The pause between fruitless attempts only matters to an intake whose :meth:`Intake.room` is too hopeful.
        """
        pause_s = _FIRST_PAUSE_S
        await self._idle.wait()
        self._waiting = deque(entry for entry in self._held if entry.message is not None)
        while self._waiting:
            await self._intake.room()
            batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            await asyncio.wait((self._hand_over(batch),))
            left = [entry for entry in batch if entry.message is not None]
            self._waiting.extendleft(reversed(left))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S) if left else _FIRST_PAUSE_S
            if left:
                await asyncio.sleep(pause_s)

    def _retried(self, task: asyncio.Task[None]) -> None:
        self._retrying = None
        if not task.cancelled():
            if (error := task.exception()) is not None:
                self._owner.failed(error)
            else:
                self._flush()
