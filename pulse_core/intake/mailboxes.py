"""Commands on their way to devices: who may have some, who waits for one, and how many may ask the database at once.

A device without commands costs no query, however often it asks: which devices have some is kept in memory, in step
with the database's notices. What is asked is bounded, so that it never takes the database from those who commit.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from pulse_core.errors import StoreUnavailable

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Callable

    from pulse_core.commands import Command
    from pulse_core.ports import CommandStore
    from pulse_core.records import DeviceKey

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""So many ask the database at the same time."""
IN_LINE = 1000
"""So many more wait for their turn; whoever comes then is sent away."""
PATIENCE_S = 5.0
"""Who has no answer by then is sent away."""
WAITING = 20_000
"""So many devices may wait for a command to come; whoever comes then is answered at once."""
_RETRY_S = 0.5


class Mailboxes:
    """The commands of all devices."""

    def __init__(self, store: CommandStore, told: Callable[[DeviceKey], None] | None = None) -> None:
        """``told``: is told of each device that was given a command, or has acknowledged one."""
        self._store = store
        self._told = told
        self._full: dict[DeviceKey, int] = {}
        """Devices that may have open commands, each with the number of the last notice about it."""
        self._notices = itertools.count()
        self._in_step = False
        self._stopped = False
        self._waiters: dict[DeviceKey, asyncio.Future[None]] = {}
        self._watchers: list[_Watcher] = []
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._in_line = 0

    async def follow(self) -> None:
        """Follow the notices; runs until cancelled."""
        while True:
            try:
                async for key in self._store.arrivals():
                    await self._apply(key)
            except StoreUnavailable as error:
                log.warning("commands.out_of_step", error=str(error))
            self._in_step = False
            await asyncio.sleep(_RETRY_S)

    async def let_go(self, stopping: asyncio.Event) -> None:
        """When ``stopping`` is set, answer all who wait; nobody waits any more."""
        await stopping.wait()
        self._stopped = True
        for key in list(self._waiters):
            self._wake(key)

    async def take(
        self, key: DeviceKey, way: str, *, limit: int, again: bool, names: frozenset[str] | None = None
    ) -> list[Command]:
        """See :meth:`pulse_core.ports.CommandStore.take`."""
        if self._in_step and key not in self._full:
            return []
        heard = self._full.get(key)
        async with self._turn():
            found = await self._store.take(key, way, limit=limit, again=again, names=names)
        if again and names is None and not found and self._full.get(key) == heard:
            self._full.pop(key, None)
        self._tell(key, found)
        return found

    async def acknowledge(self, key: DeviceKey, command_id: uuid.UUID) -> bool:
        """See :meth:`pulse_core.ports.CommandStore.acknowledge`."""
        async with self._turn():
            found = await self._store.acknowledge(key, command_id)
        self._tell(key, found)
        return found

    async def wait(self, key: DeviceKey, within_s: float) -> None:
        """Return once ``key`` may have commands, after ``within_s``, or when the platform stops."""
        if earlier := self._waiters.pop(key, None):
            earlier.cancel()
        if self._stopped or key in self._full or len(self._waiters) >= WAITING:
            return
        mine = self._waiters[key] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((mine,), timeout=within_s)
        finally:
            if self._waiters.get(key) is mine:
                del self._waiters[key]

    async def arrivals(self) -> AsyncIterator[DeviceKey]:
        """Devices that may have new commands; at first, and whenever notices were missed, all that have open ones."""
        watcher = _Watcher(self._full)
        self._watchers.append(watcher)
        try:
            while True:
                yield await watcher.next()
        finally:
            self._watchers.remove(watcher)

    async def _apply(self, key: DeviceKey | None) -> None:
        if key is None:
            self._full = dict.fromkeys(await self._store.waiting(), next(self._notices))
            self._in_step = True
            news = list(self._full)
        else:
            self._full[key] = next(self._notices)
            news = [key]
        for each in news:
            self._wake(each)
            for watcher in self._watchers:
                watcher.add(each)

    def _wake(self, key: DeviceKey) -> None:
        if waiter := self._waiters.pop(key, None):
            waiter.cancel()

    def _tell(self, key: DeviceKey, something: object) -> None:
        if something and self._told is not None:
            self._told(key)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A turn at the database, soon enough. Raises StoreUnavailable."""
        if self._in_line >= IN_LINE + AT_ONCE:
            raise StoreUnavailable("too many ask for commands")
        self._in_line += 1
        try:
            async with asyncio.timeout(PATIENCE_S), self._turns:
                yield
        except TimeoutError as error:
            raise StoreUnavailable("the database does not answer in time") from error
        finally:
            self._in_line -= 1


class _Watcher:
    """Devices that one who watches was not told of yet, each once."""

    def __init__(self, devices: dict[DeviceKey, int]) -> None:
        self._devices = dict.fromkeys(devices)
        self._some = asyncio.Event()
        if devices:
            self._some.set()

    def add(self, key: DeviceKey) -> None:
        self._devices[key] = None
        self._some.set()

    async def next(self) -> DeviceKey:
        await self._some.wait()
        key = next(iter(self._devices))
        del self._devices[key]
        if not self._devices:
            self._some.clear()
        return key
