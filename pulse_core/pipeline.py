"""The way of a message through the platform, one step a module:

    RawMessage ─ingest→ Reading ─evaluate→ Finding ─alerts→ AlertChange ─routing→ Delivery

A lane (:mod:`pulse_core.lanes`) gathers a batch of work and calls :meth:`Pipeline.carry`, which decides everything in
memory, commits it in one transaction, and only then installs the new state and lets the messages be acknowledged.
Everything here is pure, but for the lane's ``known`` and ``commit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from pulse_core import alerts, evaluate, ingest, redelivery, routing
from pulse_core.errors import ReadingsRefused, Rejected
from pulse_core.records import (
    COMMITTED,
    AlertChange,
    DeviceKey,
    DeviceState,
    DeviceStatus,
    Finding,
    Outcome,
    Reading,
    Reason,
    Verdict,
    WriteSet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulse_core.api import Evaluator, ReadingKey
    from pulse_core.intake.directory import Directory
    from pulse_core.lanes.listening import Ears
    from pulse_core.lanes.work import Disconnect, Entry, Work
    from pulse_core.ports import Clock
    from pulse_core.records import Device, Route
    from pulse_core.settings import Settings


class World:
    """What decisions are made from, besides a device's own state. Replaced piece by piece as it changes."""

    def __init__(
        self, directory: Directory, evaluators: Sequence[Evaluator[Any]], ears: Ears, settings: Settings
    ) -> None:
        self.directory = directory
        self.evaluators = evaluators
        self.ears = ears
        self.settings = settings
        self.routes: Mapping[str, Sequence[Route]] = {}


class Owner(Protocol):
    """Who owns the devices of a batch: their committed state, and the one way to commit more of it (a lane)."""

    since_us: int

    @property
    def states(self) -> Mapping[DeviceKey, DeviceState]:
        """The committed state of each device."""

    @property
    def leftovers(self) -> bool:
        """Whether there may be readings of a process that died, stored but never committed."""

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of these readings (by index) are stored already."""

    async def commit(self, writes: WriteSet) -> None:
        """Return once all of it is committed; raise only for what will never commit.

        :raises ReadingsRefused: for want of some readings nothing is committed.
        """

    def install(self, writes: WriteSet, gone: Sequence[DeviceKey]) -> None:
        """Take over what was committed, and forget devices that are gone."""


class Pipeline:
    """Carries batches of work from arrival to commit."""

    def __init__(self, world: World, clock: Clock, told: Callable[[WriteSet], None] | None = None) -> None:
        """``told``: is told of what was committed; must not raise."""
        self.world = world
        self._clock = clock
        self._told = told

    async def carry(self, lane: Owner, work: Work) -> None:
        """Decide, commit, install, acknowledge: in this order, or none of it."""
        while True:
            batch = await self._decide(lane, work)
            try:
                await lane.commit(batch.writes)
            except ReadingsRefused as error:
                batch.give_up(error)
            else:
                break
        lane.install(batch.writes, batch.gone)
        for entry, outcome in zip(work.messages, batch.outcomes, strict=True):
            entry.settle(outcome)
        if self._told is not None:
            self._told(batch.writes)

    async def _decide(self, lane: Owner, work: Work) -> Batch:
        batch = Batch(self.world, lane.states, lane.since_us, self._clock.now_us())
        admitted = batch.admit(work)
        repeats, doubtful = redelivery.sort_out(
            [reading for _, reading in admitted], lane.states, leftovers=lane.leftovers
        )
        repeats.update(await _known(lane, [(at, admitted[at][0], key) for at, key in doubtful]))
        for index, (entry, reading) in enumerate(admitted):
            batch.observe(entry, reading, repeat=index in repeats)
        for disconnect in work.disconnects:
            batch.disconnect(disconnect)
        for key in work.due:
            batch.wake(key)
        for key in work.changed:
            batch.retire(key)
        batch.finish()
        return batch


async def _known(lane: Owner, doubtful: Sequence[tuple[int, Entry, ReadingKey]]) -> list[int]:
    """Which of these were stored before. Asked once: what is carried again may have been stored by the first try."""
    unasked = [(entry, key) for _, entry, key in doubtful if entry.known is None]
    if unasked:
        known = await lane.known([key for _, key in unasked])
        for number, (entry, _) in enumerate(unasked):
            entry.known = number in known
    return [index for index, entry, _ in doubtful if entry.known]


class Batch:
    """The decisions of one batch. Committed state is only read; drafts become the new state with the commit."""

    def __init__(self, world: World, states: Mapping[DeviceKey, DeviceState], lane_since_us: int, now_us: int) -> None:
        self._world = world
        self._states = states
        self._lane_since_us = lane_since_us
        self._now_us = now_us
        self._drafts: dict[DeviceKey, evaluate.Draft] = {}
        self._stored: list[Entry] = []
        self.writes = WriteSet()
        self.outcomes: list[Outcome] = []
        self.gone: list[DeviceKey] = []

    def admit(self, work: Work) -> list[tuple[Entry, Reading]]:
        """Bytes become readings; what is refused is counted, and answered like everything else."""
        admitted: list[tuple[Entry, Reading]] = []
        world = self._world
        for entry in work.messages:
            key = DeviceKey(entry.raw.tenant_id, entry.raw.device_id)
            try:
                reading = ingest.admit(entry.raw, world.directory.get(key), world.settings, entry.stamp_us)
                admitted.append((entry, reading))
                self.outcomes.append(COMMITTED)
            except Rejected as error:
                known = world.directory.has_tenant(entry.raw.tenant_id)
                self.writes.rejects.append(ingest.reject(entry.raw, error, world.settings, tenant_known=known))
                self.outcomes.append(Outcome(Verdict.REJECTED, error.reason, error.detail))
        return admitted

    def observe(self, entry: Entry, reading: Reading, *, repeat: bool) -> None:
        """A reading is stored and judged; a redelivered one only proves that the device lives."""
        device = self._world.directory.get(reading.device)
        if device is None:
            return
        draft = self._draft(reading.device)
        if repeat:
            evaluate.heard(draft, reading)
        else:
            evaluate.note(draft, reading)
            self.writes.readings.append(reading)
            self._stored.append(entry)
        listening = self._world.ears.listening(reading.source, self._lane_since_us)
        findings = evaluate.observe(
            self._world.evaluators, device, draft, reading, listening, self._now_us, repeat=repeat
        )
        if findings:
            self._conclude(device, draft, findings)

    def disconnect(self, gone: Disconnect) -> None:
        """A device's last connection has ended. If we were deaf since, it may have knocked: its deadline will tell."""
        device = self._world.directory.get(gone.key)
        if device is None or device.revoked or not (gone.key in self._states or gone.key in self._drafts):
            return
        listening = self._world.ears.listening(gone.source, self._lane_since_us)
        if listening.since_us is None or listening.since_us > gone.at_us:
            return
        draft = self._draft(gone.key)
        evaluators = self._world.evaluators
        findings = evaluate.disconnected(evaluators, device, draft, gone.ending, listening, self._now_us)
        if findings:
            self._conclude(device, draft, findings)

    def wake(self, key: DeviceKey) -> None:
        """Time has passed for a device: silence is judged, too."""
        device = self._world.directory.get(key)
        if device is None or device.revoked or key not in self._states:
            return
        draft = self._draft(key)
        listening = self._world.ears.listening(draft.source, self._lane_since_us)
        findings = evaluate.wake(self._world.evaluators, device, draft, listening, self._now_us)
        if findings:
            self._conclude(device, draft, findings)

    def retire(self, key: DeviceKey) -> None:
        """The registry changed: a deleted device is forgotten, a revoked one is no longer judged."""
        device = self._world.directory.get(key)
        if device is None:
            self._drafts.pop(key, None)
            self.gone.append(key)
        elif device.revoked and (key in self._states or key in self._drafts):
            draft = self._draft(key)
            draft.wake_us.clear()
            if draft.status is not DeviceStatus.REVOKED:
                draft.status, draft.status_since_us, draft.status_until_us = (
                    DeviceStatus.REVOKED,
                    self._now_us,
                    None,
                )
            self._announce(alerts.close_all(device, draft.alerts, self._now_us))
            draft.alerts = {}

    def finish(self) -> None:
        """All that this batch commits is in :attr:`writes`."""
        self.writes.states = [draft.freeze() for draft in self._drafts.values()]

    def give_up(self, error: ReadingsRefused) -> None:
        """Refuse, when they are carried again, the messages whose readings can never be stored."""
        if not error.refused:
            raise error
        for index, why in error.refused.items():
            entry = self._stored[index]
            entry.raw = replace(entry.raw, refused=Reason.INVALID_FIELD, refused_detail=why)

    def _draft(self, key: DeviceKey) -> evaluate.Draft:
        draft = self._drafts.get(key)
        if draft is None:
            draft = self._drafts[key] = evaluate.Draft.of(self._states.get(key) or DeviceState(key))
        return draft

    def _conclude(self, device: Device, draft: evaluate.Draft, findings: Sequence[Finding]) -> None:
        changes, draft.alerts = alerts.transition(device, draft.alerts, findings, self._now_us)
        self._announce(changes)

    def _announce(self, changes: Sequence[AlertChange]) -> None:
        for change in changes:
            decisions, deliveries = routing.route(self._world.routes.get(change.device.tenant_id, ()), change)
            self.writes.changes.append((change, decisions))
            self.writes.deliveries.extend(deliveries)
