"""Lanes: where batches form. One lane has one database connection and one transaction in flight.

What arrives while a lane commits becomes its next batch, so batches grow with the load. A device always belongs to
the same lane, so its readings commit in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from pulse_core import evaluate
from pulse_core.errors import OwnershipLost, StoreUnavailable
from pulse_core.lanes.listening import LOOP_GAP_US
from pulse_core.lanes.timers import Timers
from pulse_core.lanes.work import Disconnect, Entry, Work
from pulse_core.records import DeviceKey, DeviceState, Outcome, Reason, Verdict, WriteSet
from pulse_core.redelivery import LOOK_BACK_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pulse_core.api import ReadingKey
    from pulse_core.config import PipelineConfig
    from pulse_core.intake.gate import Gate
    from pulse_core.pipeline import Pipeline
    from pulse_core.ports import Clock, LaneStore

log = structlog.get_logger(__name__)
T = TypeVar("T")

committed_readings = Counter("pulse_readings_committed_total", "Readings stored")
rejected_messages = Counter("pulse_messages_rejected_total", "Messages refused, by quarantine reason", ["reason"])
alert_changes = Counter("pulse_alert_changes_total", "Alert changes committed", ["event"])
commit_seconds = Histogram(
    "pulse_commit_seconds",
    "One batch's transaction",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
)
batch_size = Histogram("pulse_batch_entries", "Messages and wake-ups in one batch", buckets=(1, 5, 20, 100, 500, 2000))

_WAKES_BESIDE_MESSAGES = 500
"""While messages wait, a batch takes at most this many wake-ups: silence must not stall ingestion."""
_RETRY_FIRST_S, _RETRY_MOST_S = 0.05, 1.0
_IDLE_S = 3600.0


class Lane:
    """One lane: a queue, the committed state and the timers of its devices, and the loop that serves them."""

    def __init__(
        self,
        shard: int,
        config: PipelineConfig,
        pipeline: Pipeline,
        gate: Gate,
        clock: Clock,
        *,
        readings_first: bool,
    ) -> None:
        self.shard = shard
        self.states: dict[DeviceKey, DeviceState] = {}
        self.since_us = clock.now_us()
        self.in_outage = False
        self._config = config
        self._pipeline = pipeline
        self._gate = gate
        self._clock = clock
        self._readings_first = readings_first
        self._queue: deque[Entry] = deque()
        self._taken = 0
        """How many messages have left the queue."""
        self._disconnects: dict[DeviceKey, tuple[int, Disconnect]] = {}
        """Each behind so many messages of all those that were ever queued."""
        self._changed: list[DeviceKey] = []
        self._timers = Timers()
        self._parked: list[DeviceKey] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._stamp_us = 0
        self._opened_us = 0
        self._store: LaneStore | None = None

    async def open(self, store: LaneStore) -> None:
        """Take over the lane's devices: their committed state, and their timers."""
        self._store = store
        for state in await store.load():
            revived = evaluate.revive(self._pipeline.world.evaluators, state)
            self.states[state.key] = revived
            self._timers.set(state.key, _next_wake(revived))
            self._changed.append(state.key)
        self.since_us = self._opened_us = self._clock.now_us()

    async def close(self) -> None:
        """Give the connection back."""
        if self._store is not None:
            await self._store.close()

    def put(self, entry: Entry) -> None:
        """Queue a message. Its time is ours if it has none, and never the same twice in this lane."""
        entry.stamp_us = self._stamp_us = max(self._stamp_us + 1, entry.raw.received_us)
        self._queue.append(entry)
        if self._disconnects and entry.raw.refused is None and not entry.raw.will:
            self.connected(DeviceKey(entry.raw.tenant_id, entry.raw.device_id))
        self._arrived.set()

    def disconnected(self, disconnect: Disconnect) -> None:
        """Queue a disconnect behind the messages that came before it."""
        self._disconnects[disconnect.key] = (self._taken + len(self._queue), disconnect)
        self._arrived.set()

    def connected(self, key: DeviceKey) -> None:
        """A device is back, or is heard: a disconnect of it that nobody has judged yet never was."""
        self._disconnects.pop(key, None)

    def changed(self, key: DeviceKey) -> None:
        """The registry changed a device of this lane."""
        self._changed.append(key)
        self._arrived.set()

    def hear_again(self) -> None:
        """A gap in listening has ended: what was held back is looked at again."""
        now_us = self._clock.now_us()
        for key in self._parked:
            self._timers.set(key, now_us)
        self._parked.clear()
        self._arrived.set()

    @property
    def leftovers(self) -> bool:
        """Whether there may be readings of the former owner, stored but never committed, that devices send again."""
        return self._readings_first and self._clock.now_us() - self._opened_us < LOOK_BACK_US

    async def idle(self) -> None:
        """Return once nothing is queued and nothing is in flight."""
        await self._idle.wait()

    async def run(self) -> None:
        """Serve batches until cancelled.

        :raises OwnershipLost: another process judged our devices meanwhile: what we remember of them is worthless.
        """
        while True:
            work = await self._gather()
            batch_size.observe(len(work))
            await self._carry(work)

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Ask the store which readings it has, for as long as it takes."""
        return await self._persist(lambda store: store.known(keys))

    async def commit(self, writes: WriteSet) -> None:
        """Commit, for as long as it takes: the same write set again is harmless, whatever became of the first."""
        with commit_seconds.time():
            await self._persist(lambda store: store.commit(writes))

    def install(self, writes: WriteSet, gone: Sequence[DeviceKey]) -> None:
        """The batch is committed: its states are now the lane's."""
        for state in writes.states:
            self.states[state.key] = state
            self._timers.set(state.key, _next_wake(state))
        for key in gone:
            self.states.pop(key, None)
            self._timers.set(key, None)
        committed_readings.inc(len(writes.readings))
        for reject in writes.rejects:
            rejected_messages.labels(reject.reason).inc()
        for change, _ in writes.changes:
            alert_changes.labels(change.event).inc()

    async def _gather(self) -> Work:
        """Wait for something to do, briefly for more of it, and take it."""
        while not (self._queue or self._disconnects or self._changed or self._is_due()):
            self._idle.set()
            self._arrived.clear()
            await self._wait()
        self._idle.clear()
        if len(self._queue) < self._config.batch_messages and self._config.idle_wait_ms:
            await asyncio.sleep(self._config.idle_wait_ms / 1000)
        most = self._config.batch_messages
        messages = [self._queue.popleft() for _ in range(min(len(self._queue), most))]
        self._taken += len(messages)
        room = min(most - len(messages), _WAKES_BESIDE_MESSAGES) if messages else most
        changed, self._changed = self._changed, []
        due = self._take_due(room)
        return Work(messages, self._take_disconnects(), due, changed)

    async def _wait(self) -> None:
        next_us = self._timers.next_us()
        timeout_s = _IDLE_S if next_us is None else max(0.0, (next_us - self._clock.now_us()) / 1e6)
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return

    def _is_due(self) -> bool:
        next_us = self._timers.next_us()
        return next_us is not None and next_us <= self._clock.now_us()

    def _take_due(self, room: int) -> list[DeviceKey]:
        """Devices to wake now. Those that cannot be heard (their way in is down, the gate is shut) are parked."""
        ears, shut = self._pipeline.world.ears, self._gate.in_outage
        ears.beat()
        due: list[DeviceKey] = []
        for key in self._timers.due(self._clock.now_us(), room):
            state = self.states.get(key)
            if state is not None and (shut or ears.listening(state.source, self.since_us).since_us is None):
                self._parked.append(key)
            elif state is not None:
                due.append(key)
        return due

    def _take_disconnects(self) -> list[Disconnect]:
        """Those before which all messages have been taken."""
        ready = [
            disconnect
            for behind, disconnect in islice(self._disconnects.values(), _WAKES_BESIDE_MESSAGES)
            if behind <= self._taken
        ]
        for disconnect in ready:
            del self._disconnects[disconnect.key]
        return ready

    async def _carry(self, work: Work) -> None:
        if (work.due or work.disconnects) and not await self._store_is_up():
            for key in work.due:
                self._timers.set(key, self._clock.now_us())
            work.due, work.disconnects = [], []
        try:
            if work:
                await self._pipeline.carry(self, work)
        except OwnershipLost:
            raise
        except Exception as error:
            if len(work) == 1:
                log.exception("batch.poison", shard=self.shard)
            else:
                log.warning("batch.split", shard=self.shard, entries=len(work), error=repr(error))
            await self._isolate(work)

    async def _isolate(self, work: Work) -> None:
        """Something in this work makes its batch fail: halve it until that is alone, and quarantine it."""
        if len(work) > 1:
            for half in work.halves():
                await self._carry(half)
        elif work.messages:
            await self._quarantine(work.messages[0])

    async def _quarantine(self, entry: Entry) -> None:
        """Count a message that cannot be committed; if not even its refusal can be, answer it all the same."""
        if entry.raw.refused is not None:
            entry.settle(Outcome(Verdict.REJECTED, Reason.INGEST_EXCEPTION))
            return
        refused = msgspec.structs.replace(entry.raw, refused=Reason.INGEST_EXCEPTION)
        await self._carry(Work([Entry(refused, entry.submission, entry.index)]))

    async def _store_is_up(self) -> bool:
        """Silence is judged only while the database answers: devices may be waiting at our closed door."""
        was_in_outage = self.in_outage
        before_us = self.since_us
        await self.known(())
        return not (was_in_outage or self._gate.in_outage) and self.since_us == before_us

    async def _persist(self, action: Callable[[LaneStore], Awaitable[T]]) -> T:
        if self._store is None:
            raise StoreUnavailable("the lane is not open")
        pause_s, began_us = _RETRY_FIRST_S, self._clock.now_us()
        while True:
            try:
                result = await action(self._store)
            except OwnershipLost:
                raise
            except StoreUnavailable as error:
                self._outage(str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(_RETRY_MOST_S, pause_s * 2)
            else:
                self._answered(began_us)
                return result

    def _outage(self, error: str) -> None:
        self._gate.outage(self.shard, error)
        if not self.in_outage:
            self.in_outage = True
            log.warning("lane.outage", shard=self.shard, error=error)

    def _answered(self, asked_us: int) -> None:
        """The store answered. What took longer than a gap was one, whether or not anything failed."""
        now_us = self._clock.now_us()
        if self.in_outage or now_us - asked_us > LOOP_GAP_US:
            self.since_us = now_us
        if self.in_outage:
            self.in_outage = False
            log.info("lane.recovered", shard=self.shard)
            if self._gate.recovered(self.shard):
                self._pipeline.world.ears.gap_ended()


def _next_wake(state: DeviceState) -> int | None:
    return min(state.wake_us.values(), default=None)
