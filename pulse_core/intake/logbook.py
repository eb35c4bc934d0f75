"""The connections of devices and what happens besides them, written down in batches beside the data path.

No message and no login waits for that.

What is still to be written is bounded. Past that the oldest is forgotten, and as soon as the database answers again,
connections that it takes for open and that are not are ended there.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import TYPE_CHECKING

import structlog

from pulse_core.device_connections import ConnectionEvent, DeviceConnection, Ending
from pulse_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.ports import Clock, ConnectionStore
    from pulse_core.records import DeviceKey

log = structlog.get_logger(__name__)

WAITING = 50_000
"""So many connections may wait to be written."""
WAITING_WITH_EVENTS = 40_000
"""While so many wait, events are not noted: an ending is worth more than a refusal."""
TOGETHER_US = 60_000_000
"""Refusals of a device for one reason that come within this are noted as one."""
REFUSED_LATELY = 10_000
"""Of so many devices and reasons it is remembered that they were refused lately."""
BATCH = 1000
_LONGEST_TEXT = 256
_GATHER_S = 0.25
_RETRY_S = 1.0
_LAST_WORDS_S = 1.0


class Logbook:
    """Begin each connection, end it, note events; :meth:`run` writes."""

    def __init__(self, store: ConnectionStore, clock: Clock, told: Callable[[DeviceKey], None] | None = None) -> None:
        """``told``: is told of each device about whose connections something was written."""
        self._store = store
        self._clock = clock
        self._told = told
        self._waiting: dict[uuid.UUID, DeviceConnection] = {}
        self._open: dict[uuid.UUID, DeviceConnection] = {}
        self._lasting: dict[DeviceKey, int] = {}
        """How many connections each device has."""
        self._refused: dict[tuple[DeviceKey, str, str], DeviceConnection] = {}
        """The refusals that more may join, the oldest first."""
        self._some = asyncio.Event()
        self._settled = False
        """Whether what the store takes for open is open, but for what waits."""

    def begin(
        self, key: DeviceKey, source: str, *, protocol: str = "", address: str = "", client_id: str = ""
    ) -> Callable[[Ending], bool]:
        """A connection has begun; call what this returns when it has ended. Both are quick, and never fail.

        The answer to that is whether it was the last one of its device, by whatever way in.
        """
        texts = (_cut(protocol), _cut(address), _cut(client_id))
        begun = DeviceConnection(uuid.uuid4(), key, source, *texts, self._clock.now_us())
        self._open[begun.connection_id] = begun
        self._lasting[key] = self._lasting.get(key, 0) + 1
        self._note(begun)
        return lambda ending: self._end(begun, ending)

    def note(
        self,
        key: DeviceKey,
        source: str,
        event: ConnectionEvent,
        *,
        protocol: str = "",
        address: str = "",
        client_id: str = "",
        detail: str = "",
    ) -> None:
        """Something happened to a device besides. Quick, and never fails."""
        now_us = self._clock.now_us()
        texts = (_cut(protocol), _cut(address), _cut(client_id))
        noted = DeviceConnection(uuid.uuid4(), key, source, *texts, now_us, now_us, event=event, detail=_cut(detail))
        if event is ConnectionEvent.REFUSED:
            noted = self._join(noted)
        if len(self._waiting) < WAITING_WITH_EVENTS:
            self._note(noted)

    async def settle(self) -> None:
        """End what the store takes for open and is not: those of a process that died. Raises StoreUnavailable."""
        await self._store.end_all_but(list(self._open))
        self._settled = True

    async def run(self) -> None:
        """Write; runs until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER_S)
            try:
                if not self._settled:
                    await self.settle()
                await self._write()
            except StoreUnavailable as error:
                log.warning("connections.unwritten", waiting=len(self._waiting), error=str(error))
                await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        """Write what is left, if that is quick; what still lasts has ended, for we stop."""
        for each in list(self._open.values()):
            self._end(each, Ending.SERVER_STOPPED)
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._write()
        except (StoreUnavailable, TimeoutError):
            log.warning("connections.unwritten", waiting=len(self._waiting))

    async def _write(self) -> None:
        while self._waiting:
            batch = list(itertools.islice(self._waiting.values(), BATCH))
            states = [(each.ended_us, each.times) for each in batch]
            await self._store.record(batch)
            for each, state in zip(batch, states, strict=True):
                if (each.ended_us, each.times) == state:  # or more has come of it meanwhile, which waits
                    self._waiting.pop(each.connection_id, None)
                if self._told is not None:
                    self._told(each.key)
        self._some.clear()

    def _end(self, connection: DeviceConnection, ending: Ending) -> bool:
        if self._open.pop(connection.connection_id, None) is None:
            return False
        left = self._lasting.pop(connection.key) - 1
        if left:
            self._lasting[connection.key] = left
        connection.ended_us, connection.ending = self._clock.now_us(), ending
        self._note(connection)
        return not left

    def _join(self, refusal: DeviceConnection) -> DeviceConnection:
        """One with those before it that are like it, from wherever they came; or itself, if that was long ago."""
        refused, like = self._refused, (refusal.key, refusal.source, refusal.detail)
        first = refused.get(like)
        if first is not None and refusal.connected_us - first.connected_us < TOGETHER_US:
            first.times += 1
            return first
        refused.pop(like, None)
        if len(refused) >= REFUSED_LATELY:
            del refused[next(iter(refused))]
        refused[like] = refusal
        return refusal

    def _note(self, connection: DeviceConnection) -> None:
        if len(self._waiting) >= WAITING and connection.connection_id not in self._waiting:
            self._waiting.pop(next(iter(self._waiting)))
            self._settled = False
        self._waiting[connection.connection_id] = connection
        self._some.set()


def _cut(text: str) -> str:
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
