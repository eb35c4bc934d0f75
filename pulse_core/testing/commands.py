"""Commands in memory: the twin of the store behind the intake, for tests that need no database."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pulse_core.commands import DEFAULT_EXPIRES_S, MOST_NUMBER, Command, CommandStatus
from pulse_core.errors import StoreUnavailable
from pulse_core.records import DeviceKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_OPEN = {CommandStatus.QUEUED, CommandStatus.SENT}


class Queued(Struct):
    """A command and what became of it."""

    device: DeviceKey
    command: Command
    status: CommandStatus = CommandStatus.QUEUED
    way: str | None = None


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


class MemoryCommands:
    """Implements :class:`pulse_core.ports.CommandStore`. What it holds is public, for tests to judge."""

    def __init__(self, now_us: Callable[[], int] = _wall_clock_us) -> None:
        self._now_us = now_us
        self._count = itertools.count()
        self._news: list[asyncio.Queue[DeviceKey | None]] = []
        self.queued: dict[uuid.UUID, Queued] = {}
        self.takes = 0
        """How often the store was asked for a device's commands."""
        self.down = False
        self.hold: asyncio.Event | None = None
        """Nobody is answered before it is set."""

    def queue(
        self, device: DeviceKey, name: str = "reboot", payload: str = "{}", expires_in_s: float = DEFAULT_EXPIRES_S
    ) -> uuid.UUID:
        """A customer queues a command."""
        now_us = self._now_us()
        command_id = uuid.uuid4()
        created_us, expires_us = now_us + next(self._count), now_us + round(expires_in_s * 1e6)
        command = Command(command_id, name, payload, created_us, expires_us, self._next_number(device))
        self.queued[command_id] = Queued(device, command)
        for news in self._news:
            news.put_nowait(device)
        return command_id

    def lose_notices(self) -> None:
        """The connection for notices breaks: those who follow read everything again."""
        for news in self._news:
            news.put_nowait(None)

    def status(self, command_id: uuid.UUID) -> CommandStatus:
        """As a customer sees it."""
        held = self.queued[command_id]
        return CommandStatus.EXPIRED if held.status in _OPEN and not self._is_open(held) else held.status

    async def waiting(self) -> list[DeviceKey]:
        """Every device with open commands."""
        await self._answer()
        return list(dict.fromkeys(held.device for held in self.queued.values() if self._is_open(held)))

    async def take(
        self, device: DeviceKey, way: str, *, limit: int, again: bool, names: frozenset[str] | None = None
    ) -> list[Command]:
        """The oldest open commands of a device."""
        self.takes += 1
        await self._answer()
        held = [one for one in self._open_of(device) if names is None or one.command.name in names]
        due = sorted(
            (one for one in held if again or one.status is CommandStatus.QUEUED), key=lambda one: one.command.created_us
        )[:limit]
        taken = [replace(one.command, sent=one.status is CommandStatus.SENT) for one in due]
        for one in due:
            if one.status is CommandStatus.QUEUED:
                one.status, one.way = CommandStatus.SENT, way
        return taken

    async def acknowledge(self, device: DeviceKey, command_id: uuid.UUID) -> bool:
        """Make a SENT command ACKNOWLEDGED."""
        await self._answer()
        held = self.queued.get(command_id)
        if held is None or held.device != device:
            return False
        if held.status is CommandStatus.SENT and self._is_open(held):
            held.status = CommandStatus.ACKNOWLEDGED
        return held.status is CommandStatus.ACKNOWLEDGED

    async def arrivals(self) -> AsyncIterator[DeviceKey | None]:
        """Devices for which a command was queued."""
        news: asyncio.Queue[DeviceKey | None] = asyncio.Queue()
        self._news.append(news)
        try:
            yield None
            while True:
                device = await news.get()
                if device is None:
                    raise StoreUnavailable("the test says so")
                yield device
        finally:
            self._news.remove(news)

    def _open_of(self, device: DeviceKey) -> list[Queued]:
        return [one for one in self.queued.values() if one.device == device and self._is_open(one)]

    def _next_number(self, device: DeviceKey) -> int:
        number = next((one.command.number for one in reversed(self.queued.values()) if one.device == device), 0)
        taken = {one.command.number for one in self._open_of(device)}
        while (number := number % MOST_NUMBER + 1) in taken:
            pass
        return number

    def _is_open(self, held: Queued) -> bool:
        return held.status in _OPEN and held.command.expires_us > self._now_us()

    async def _answer(self) -> None:
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("the test says so")
