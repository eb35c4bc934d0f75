"""What one connection has handed over and not yet acknowledged, in the order in which it arrived."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from pulse_core.api import Verdict
from pulse_mqtt.wire import PUBACK_HEAD, PUBREC_HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulse_core.api import Intake, Outcome, RawMessage

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0


class Owner(Protocol):
    """Whose window it is."""

    def decided(self, acknowledgements: bytes) -> None:
        """Send these: everything up to here is committed or durably rejected. May be empty (QoS 0)."""

    def waiting(self, waits: bool) -> None:
        """Messages wait for room in the intake (stop reading), or no longer."""

    def failed(self, error: BaseException) -> None:
        """The intake broke its promise; nothing can be acknowledged any more."""


class _Batch:
    """The messages of one chunk, and the acknowledgements that they are owed: one a message, empty for QoS 0.

    ``places``: where the messages that are still undecided stand among the acknowledgements.
    """

    __slots__ = ("acknowledgements", "count", "done", "future", "handed_over", "messages", "places", "size")
    future: asyncio.Future[list[Outcome]]
    """Its outcomes; none before it is handed over."""

    def __init__(self, messages: Sequence[RawMessage], acknowledgements: list[bytes], size: int) -> None:
        self.messages = messages
        self.acknowledgements = acknowledgements
        self.places: Sequence[int] = range(len(messages))
        self.count = len(messages)
        self.size = size
        self.handed_over = False
        self.done = not messages


class Window:
    """Submits batches in order and releases their acknowledgements in order.

    A batch with a RETRY_LATER among its outcomes keeps those messages, and everything that comes after waits
    behind them: they are submitted again, oldest first, when the intake has room.

    :param unreleased: packet ids of messages of QoS 2 that came and were not released yet, theirs among them.
    :param answer: makes of an acknowledgement the answer to a message that was refused.
    """

    __slots__ = (
        "_answer",
        "_batches",
        "_closed",
        "_draining",
        "_intake",
        "_owner",
        "_resubmitting",
        "undecided",
        "undecided_bytes",
        "unreleased",
    )

    def __init__(
        self, intake: Intake, owner: Owner, unreleased: set[bytes], answer: Callable[[bytes, Outcome], bytes]
    ) -> None:
        self._intake = intake
        self._owner = owner
        self._answer = answer
        self._batches: list[_Batch] = []
        self._resubmitting: asyncio.Task[None] | None = None
        self._closed = False
        self._draining = False
        self.unreleased = unreleased
        self.undecided = 0
        """Messages without an outcome."""
        self.undecided_bytes = 0
        """Their size, as received."""

    def submit(self, messages: Sequence[RawMessage], acknowledgements: list[bytes], size: int) -> None:
        """Hand messages over, or queue them behind those that wait for room. Each has its acknowledgement."""
        batch = _Batch(messages, acknowledgements, size)
        self._batches.append(batch)
        self.undecided += batch.count
        self.undecided_bytes += size
        if self._resubmitting is None:
            self._hand_over(batch)

    def owe(self, acknowledgement: bytes) -> None:
        """Acknowledge in its turn what needs no decision any more."""
        self._batches.append(_Batch((), [acknowledgement], 0))
        self._release()

    def owed(self) -> int:
        """How many messages of QoS 1 are not acknowledged yet."""
        return sum(one.startswith(PUBACK_HEAD) for batch in self._batches for one in batch.acknowledgements)

    def close(self) -> list[asyncio.Future[list[Outcome]]]:
        """The connection is gone: nobody is left to acknowledge to. Return what of QoS 2 is still undecided.

        Such messages may come anew where they were not taken in: of the undecided ones that shows when they are
        decided, and until then the session's next connection cannot tell whether it has them.
        """
        self._closed = True
        undecided = []
        for batch in self._batches:
            if batch.done or not any(map(_id_of, batch.acknowledgements)):
                continue
            if batch.handed_over:
                undecided.append(batch.future)
            else:
                self._free(batch)
        self._batches.clear()
        if self._resubmitting is not None:
            self._resubmitting.cancel()
        return undecided

    def drain(self) -> None:
        """Shutting down: wait for outcomes, but not for room. What needs room stays unacknowledged, and what is
        behind it too.
        """
        self._draining = True
        if self._resubmitting is not None:
            self._resubmitting.cancel()
            self._forget_waiting()

    def _forget_waiting(self) -> None:
        kept = list(takewhile(lambda batch: batch.done or batch.handed_over, self._batches))
        for batch in self._batches[len(kept) :]:
            self._free(batch)
        self._batches = kept
        self.undecided = sum(batch.count for batch in kept)
        self.undecided_bytes = sum(batch.size for batch in kept)
        self._owner.decided(b"")

    def _free(self, batch: _Batch) -> None:
        """The messages of QoS 2 that were not taken in may come anew."""
        self.unreleased.difference_update(_id_of(batch.acknowledgements[place]) for place in batch.places)

    def _hand_over(self, batch: _Batch) -> asyncio.Future[list[Outcome]]:
        batch.handed_over = True
        batch.future = future = asyncio.ensure_future(self._intake.submit(batch.messages))
        if future.done():
            self._settle(batch, future)
        else:
            future.add_done_callback(partial(self._settle, batch))
        return future

    def _settle(self, batch: _Batch, future: asyncio.Future[list[Outcome]]) -> None:
        if self._closed:
            self._settle_late(batch, future)
            return
        if future.cancelled() or future.exception() is not None:
            error = asyncio.CancelledError() if future.cancelled() else future.exception()
            self._owner.failed(error or asyncio.CancelledError())
            return
        if self._keep_refused(batch, future.result()):
            batch.handed_over = False
            self._wait_for_room()
            return
        batch.done = True
        self._release()

    def _settle_late(self, batch: _Batch, future: asyncio.Future[list[Outcome]]) -> None:
        """Nobody is told; but the packet ids of QoS 2 outlive the connection."""
        if future.cancelled() or future.exception() is not None or self._keep_refused(batch, future.result()):
            self._free(batch)

    def _keep_refused(self, batch: _Batch, outcomes: Sequence[Outcome]) -> bool:
        """Answer what was rejected; keep what must come again, and say whether there is any."""
        committed, later = Verdict.COMMITTED, Verdict.RETRY_LATER
        kept = []
        for index, outcome in enumerate(outcomes):
            verdict = outcome.verdict
            if verdict is committed:
                continue
            if verdict is later:
                kept.append(index)
            else:
                self._refuse(batch, batch.places[index], outcome)
        if kept:
            batch.messages = [batch.messages[index] for index in kept]
            batch.places = [batch.places[index] for index in kept]
        return bool(kept)

    def _refuse(self, batch: _Batch, place: int, outcome: Outcome) -> None:
        owed = batch.acknowledgements[place]
        if not owed:
            return
        answer = batch.acknowledgements[place] = self._answer(owed, outcome)
        if answer is not owed:  # 4.3.3 of MQTT 5: a failure ends the flow, and its packet id is free again
            self.unreleased.discard(_id_of(owed))

    def _release(self) -> None:
        batches = self._batches
        released: list[bytes] = []
        done = 0
        for batch in batches:
            if not batch.done:
                break
            done += 1
            released += batch.acknowledgements
            self.undecided -= batch.count
            self.undecided_bytes -= batch.size
        if done:
            del batches[:done]
            self._owner.decided(b"".join(released))

    def _wait_for_room(self) -> None:
        if self._draining:
            self._forget_waiting()
        elif self._resubmitting is None:
            self._owner.waiting(True)
            self._resubmitting = asyncio.get_running_loop().create_task(self._resubmit())
            self._resubmitting.add_done_callback(self._resubmitted)

    def _resubmitted(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._owner.failed(error)

    async def _resubmit(self) -> None:
        """One batch at a time, oldest first, so that a device's messages stay in order.

        The pause between fruitless attempts only matters to an intake whose :meth:`Intake.room` is too hopeful.
        """
        pause_s = _FIRST_PAUSE_S
        while (batch := self._oldest_waiting()) is not None:
            await self._intake.room()
            await asyncio.wait((self._hand_over(batch),))
            if batch.handed_over:
                pause_s = _FIRST_PAUSE_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self._resubmitting = None
        self._owner.waiting(False)

    def _oldest_waiting(self) -> _Batch | None:
        return next((batch for batch in self._batches if not batch.done and not batch.handed_over), None)


def _id_of(acknowledgement: bytes) -> bytes:
    """The packet id of a message of QoS 2; of no other."""
    return acknowledgement[2:4] if acknowledgement.startswith(PUBREC_HEAD) else b""
