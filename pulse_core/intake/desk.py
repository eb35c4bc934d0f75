"""The intake: where every way in hands its messages over, and where each gets its answer after the commit."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pulse_core import ingest
from pulse_core.errors import Rejected, StoreUnavailable
from pulse_core.intake.directory import connections_end_at
from pulse_core.lanes.work import Disconnect, Entry, Submission
from pulse_core.records import (
    RETRY_LATER,
    Device,
    DeviceKey,
    Outcome,
    RawMessage,
    Reason,
    partition_of,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from pulse_core.api import Command, ConnectionEvent, Credentials, Ending
    from pulse_core.intake.directory import Directory
    from pulse_core.intake.gate import Gate
    from pulse_core.intake.logbook import Logbook
    from pulse_core.intake.mailboxes import Mailboxes
    from pulse_core.intake.pacing import Pacer
    from pulse_core.intake.sessions import SessionKeeper
    from pulse_core.lanes.lane import Lane
    from pulse_core.lanes.listening import Ears
    from pulse_core.pipeline import World
    from pulse_core.ports import Clock

_WORTH_A_LOOK_UP = {Reason.UNREGISTERED_DEVICE, Reason.TOKEN_INVALID, Reason.TOKEN_NOT_SET_IN_REGISTRY}


class Desk:
    """The :class:`pulse_core.api.Intake` of one ingester."""

    def __init__(
        self,
        source: str,
        world: World,
        lanes: Sequence[Lane],
        gate: Gate,
        pacer: Pacer,
        clock: Clock,
        stopping: asyncio.Event,
        mailboxes: Mailboxes,
        logbook: Logbook,
        sessions: SessionKeeper,
    ) -> None:
        self._source = source
        self._world = world
        self._lanes = lanes
        self._gate = gate
        self._pacer = pacer
        self._clock = clock
        self._stopping = stopping
        self._mailboxes = mailboxes
        self._logbook = logbook
        self._sessions = sessions
        self._revoked: asyncio.Queue[DeviceKey] = asyncio.Queue()
        self._looking: set[asyncio.Task[None]] = set()
        self._directory.on_change(self._device_changed)

    @property
    def _directory(self) -> Directory:
        return self._world.directory

    @property
    def _ears(self) -> Ears:
        return self._world.ears

    @property
    def stopping(self) -> asyncio.Event:
        """See :class:`pulse_core.api.Intake`, as for all that follows."""
        return self._stopping

    @property
    def max_payload_bytes(self) -> int:
        """The live setting MAX_PAYLOAD_BYTES."""
        return self._world.settings.MAX_PAYLOAD_BYTES

    async def authenticate(self, credentials: Credentials) -> Device:
        """Log a device in."""
        return await self._directory.authenticate(credentials)

    async def room(self) -> None:
        """Wait for room."""
        await self._gate.room()

    def pace(self, key: DeviceKey, count: int) -> float:
        """Charge messages that may wait."""
        return self._pacer.borrow(key, count, self._clock.now_us())

    def charge(self, key: DeviceKey) -> float:
        """Charge a request."""
        return self._pacer.take(key, self._clock.now_us())

    def receiving(self, up: bool) -> None:
        """Start or stop the staleness clocks of this source's devices."""
        self._ears.receiving(self._source, up)

    async def revocations(self) -> AsyncIterator[DeviceKey]:
        """Devices whose connections must end."""
        while True:
            yield await self._revoked.get()

    async def open_session(
        self, key: DeviceKey, client_id: str, *, clean: bool, expiry_s: int
    ) -> dict[str, int] | None:
        """Take a session up, or begin one."""
        return await self._sessions.open(key, client_id, clean=clean, expiry_s=expiry_s)

    async def save_session(self, key: DeviceKey, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """Keep its subscriptions."""
        await self._sessions.save(key, client_id, subscriptions)

    def leave_session(self, key: DeviceKey, client_id: str, expiry_s: int) -> None:
        """Its connection has ended."""
        self._sessions.leave(key, client_id, expiry_s)

    async def commands(
        self, key: DeviceKey, *, limit: int = 100, again: bool = True, names: frozenset[str] | None = None
    ) -> list[Command]:
        """Take a device's commands."""
        return await self._mailboxes.take(key, self._source, limit=limit, again=again, names=names)

    async def acknowledge_command(self, key: DeviceKey, command_id: uuid.UUID) -> bool:
        """A command was carried out."""
        return await self._mailboxes.acknowledge(key, command_id)

    async def command_comes(self, key: DeviceKey, within_s: float) -> None:
        """Wait for a command."""
        await self._mailboxes.wait(key, within_s)

    def command_arrivals(self) -> AsyncIterator[DeviceKey]:
        """Devices that may have new commands."""
        return self._mailboxes.arrivals()

    def connected(
        self, key: DeviceKey, *, protocol: str = "", address: str = "", client_id: str = ""
    ) -> Callable[[Ending], None]:
        """Note a connection."""
        end = self._logbook.begin(key, self._source, protocol=protocol, address=address, client_id=client_id)
        self._lane_of(key).connected(key)
        return partial(self._ended, key, end)

    def connection_event(
        self,
        key: DeviceKey,
        event: ConnectionEvent,
        *,
        protocol: str = "",
        address: str = "",
        client_id: str = "",
        detail: str = "",
    ) -> None:
        """Note an event, if there is such a device."""
        if self._directory.get(key) is not None:
            texts = {"protocol": protocol, "address": address, "client_id": client_id, "detail": detail}
            self._logbook.note(key, self._source, event, **texts)

    def _ended(self, key: DeviceKey, end: Callable[[Ending], bool], ending: Ending) -> None:
        """A connection has ended. If it was its device's last, and the tenant chose so, that is judged in its turn."""
        if not end(ending) or self._stopping.is_set():
            return
        device = self._directory.get(key)
        if device is not None and ending in device.stale_on:
            self._lane_of(key).disconnected(Disconnect(key, self._source, ending, self._clock.now_us()))

    def submit(self, messages: Sequence[RawMessage]) -> Awaitable[list[Outcome]]:
        """Queue messages for their lanes; the future resolves after their commits."""
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        if not messages or not self._gate.is_open():
            future.set_result([RETRY_LATER] * len(messages))
            return future
        size = sum(len(raw.payload) for raw in messages)
        submission = Submission(len(messages), size, future, self._gate.leave)
        self._gate.enter(len(messages), size)
        doubtful: list[Entry] = []
        for index, raw in enumerate(messages):
            entry = Entry(raw, submission, index)
            if raw.authenticated or raw.refused is not None:
                self._queue(entry)
            elif not self._admit_stranger(entry):
                doubtful.append(entry)
        if doubtful:
            task = asyncio.get_running_loop().create_task(self._look_again(doubtful))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        return future

    def _admit_stranger(self, entry: Entry) -> bool:
        """Check the token of a message whose connection proves nothing. False: the registry should be asked."""
        refusal = self._check(entry.raw)
        if refusal in _WORTH_A_LOOK_UP:
            return False
        self._queue(entry, refusal)
        return True

    async def _look_again(self, doubtful: Sequence[Entry]) -> None:
        for entry in doubtful:
            raw = entry.raw
            try:
                await self._directory.look_up(DeviceKey(raw.tenant_id, raw.device_id))
            except StoreUnavailable:
                entry.settle(RETRY_LATER)
                continue
            self._queue(entry, self._check(raw))

    def _check(self, raw: RawMessage) -> Reason | None:
        """Why a message is refused before its lane sees it: its token, then its rate."""
        key = DeviceKey(raw.tenant_id, raw.device_id)
        now_us = self._clock.now_us()
        if raw.token is None and len(raw.payload) > self.max_payload_bytes:
            return Reason.PAYLOAD_TOO_LARGE
        try:
            ingest.check_token(self._directory.get(key), ingest.token_of(raw), now_us)
        except Rejected as error:
            return error.reason
        if not raw.may_wait and self._pacer.take(key, now_us):
            return Reason.RATE_LIMITED
        return None

    def _queue(self, entry: Entry, refusal: Reason | None = None) -> None:
        raw = entry.raw
        if raw.authenticated and not raw.may_wait and raw.refused is None:
            key = DeviceKey(raw.tenant_id, raw.device_id)
            if self._pacer.take(key, self._clock.now_us()):
                refusal = Reason.RATE_LIMITED
        if refusal is not None:
            entry.raw = msgspec.structs.replace(raw, refused=refusal)
        self._lanes[partition_of(raw.tenant_id, raw.device_id) % len(self._lanes)].put(entry)

    def _lane_of(self, key: DeviceKey) -> Lane:
        return self._lanes[partition_of(key.tenant_id, key.device_id) % len(self._lanes)]

    def _device_changed(self, key: DeviceKey, before: Device | None, after: Device | None) -> None:
        now_us = self._clock.now_us()
        ends_us = connections_end_at(before, after, now_us)
        if ends_us is not None:
            delay_s = max(0, ends_us - now_us) / 1_000_000
            asyncio.get_running_loop().call_later(delay_s, self._revoked.put_nowait, key)
