"""Who looks on: a room for each tenant that somebody watches, one for operators, each told four times a second at most.

A stream that is read too slowly is dropped: its reader connects again and is told to read everything anew.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

from pulse_core.errors import StoreUnavailable, TooMany
from pulse_core.notices import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY_S: Final = 0.25
"""A stream is told no more often than this."""
QUEUED: Final = 32
"""So many notices may wait for a slow reader: eight seconds of them."""
EACH: Final = 20
"""Streams of one principal: a tab of a browser takes one."""
ALL: Final = 2000
"""Streams of one process."""
TENANTS_SHOWN: Final = 100
"""Operators are told to read anew when more tenants than these have changed at once."""
_AGAIN_S = 5.0

STREAMS = Gauge("pulse_notice_streams", "Open streams of notices")
TOLD = Metric("pulse_notices_told", "Notices put into streams")
DROPPED = Metric("pulse_notice_streams_dropped", "Streams ended since they were read too slowly")

END: Final = b""
"""What a stream gives when it is over."""


def event(name: str, data: Any, event_id: str = "") -> bytes:
    """One event, as EventSource reads it."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n".encode()


class Stream:
    """One reader's notices, in order."""

    def __init__(self, abort: Callable[[], None] | None) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(QUEUED + 1)
        self._abort = abort
        self._over = False

    async def next(self, within_s: float) -> bytes | None:
        """The next event; :data:`END`; None: there was none in time."""
        try:
            async with asyncio.timeout(within_s):
                return await self._waiting.get()
        except TimeoutError:
            return None

    def put(self, told: bytes) -> None:
        """Tell its reader; one that is too slow loses the stream."""
        if self._over:
            return
        if self._waiting.qsize() >= QUEUED:
            DROPPED.inc()
            self.end()
            if self._abort is not None:
                self._abort()
            return
        TOLD.inc()
        self._waiting.put_nowait(told)

    def end(self) -> None:
        """No more comes."""
        if not self._over:
            self._over = True
            self._waiting.put_nowait(END)


class Room:
    """Everybody who watches the same: told at once of the first change, and of those that follow together."""

    def __init__(self, hub: Hub, *, one_tenant: bool) -> None:
        self._hub = hub
        self._one_tenant = one_tenant
        self._board = Board() if one_tenant else Board(TENANTS_SHOWN)
        self._resting: asyncio.Handle | None = None
        self.streams: set[Stream] = set()

    def note(self, tenant_id: str, kind: str, ids: list[str] | None) -> None:
        """Something has changed."""
        self._board.note(tenant_id, kind, ids)
        self._wake()

    def note_everything(self) -> None:
        """Anything may have changed."""
        self._board.note_everything()
        self._wake()

    def close(self) -> None:
        """Nobody is here any more."""
        if self._resting is not None:
            self._resting.cancel()

    def _wake(self) -> None:
        if self._resting is None:  # soon: what was heard together is told together
            self._resting = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._resting = None
        if not self._board.some.is_set():
            return
        found = self._board.take()
        if found is None:
            told = event("resync", {}, self._hub.next_id())
        else:
            tenants = {
                tenant_id: {kind: None if ids is None else sorted(ids) for kind, ids in changes.items()}
                for tenant_id, changes in found.items()
            }
            shown = next(iter(tenants.values())) if self._one_tenant else {"tenants": tenants}
            told = event("changed", shown, self._hub.next_id())
        for stream in list(self.streams):
            stream.put(told)
        self._resting = asyncio.get_running_loop().call_later(EVERY_S, self._tell)


class Hub:
    """The rooms of one process."""

    def __init__(self, *, each: int = EACH, most: int = ALL) -> None:
        self._each = each
        self._most = most
        self._rooms: dict[str | None, Room] = {}
        self._of: Counter[str] = Counter()
        self._boot = secrets.token_hex(4)
        self._told = 0
        self._closed = False

    def next_id(self) -> str:
        """An id that no other event of any process has."""
        self._told += 1
        return f"{self._boot}-{self._told}"

    def heard(self, found: list[tuple[str, str, list[str] | None]] | None) -> None:
        """Some process has told something; None: anything may have changed."""
        if found is None:
            for room in self._rooms.values():
                room.note_everything()
            return
        everybody = self._rooms.get(None)
        for tenant_id, kind, ids in found:
            for each in (self._rooms.get(tenant_id), everybody):
                if each is not None:
                    each.note(tenant_id, kind, ids)

    def demand_room(self, subject: str) -> None:
        """Whether another stream may be opened.

        :raises TooMany: there are enough, of this principal or in all.
        :raises StoreUnavailable: the process is stopping.
        """
        if self._closed:
            raise StoreUnavailable("stopping")
        if self._of[subject] >= self._each:
            raise TooMany(f"{self._each} streams at once are enough: close one", retry_after_s=_AGAIN_S)
        if self._of.total() >= self._most:
            raise TooMany("too many streams are open: try again", retry_after_s=_AGAIN_S)

    @contextmanager
    def joined(self, subject: str, tenant_id: str | None, abort: Callable[[], None] | None = None) -> Iterator[Stream]:
        """A stream of what changes for one tenant, or for all (None), until the block ends.

        :param abort: ends a connection at once, whatever still waits to be read.
        """
        stream = Stream(abort)
        room = self._rooms.get(tenant_id)
        if room is None:
            room = self._rooms[tenant_id] = Room(self, one_tenant=tenant_id is not None)
        room.streams.add(stream)
        self._of[subject] += 1
        STREAMS.inc()
        if self._closed:
            stream.end()
        try:
            yield stream
        finally:
            STREAMS.dec()
            self._of[subject] -= 1
            if not self._of[subject]:
                del self._of[subject]
            room.streams.discard(stream)
            if not room.streams:
                room.close()
                self._rooms.pop(tenant_id, None)

    def close(self) -> None:
        """End every stream: the process stops."""
        self._closed = True
        for room in self._rooms.values():
            for stream in room.streams:
                stream.end()
