"""Who is connected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from pulse_core.api import Ending

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey


class Guest(Protocol):
    """A connection, as the roster sees it."""

    @property
    def key(self) -> DeviceKey | None:
        """Whom it wants to be; None before its CONNECT."""

    @property
    def client_id(self) -> str:
        """What its client calls itself."""

    def close(self, why: str, ending: Ending) -> None:
        """End it."""

    def drain(self) -> None:
        """Let it answer what it owes, then end."""

    def abort(self, why: str, ending: Ending) -> None:
        """Be rid of it."""


class Roster:
    """All connections; by device, to end them; and by session, so that a client has one connection at a time."""

    def __init__(self, max_connections: int) -> None:
        self._limit = max_connections
        self._all: set[Guest] = set()
        self._by_device: dict[DeviceKey, set[Guest]] = {}
        self._sessions: dict[tuple[DeviceKey, str], Guest] = {}
        self._nobody = asyncio.Event()
        self._nobody.set()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: Guest) -> bool:
        """Note a new connection; False when there are too many."""
        self._all.add(connection)
        self._nobody.clear()
        return len(self._all) <= self._limit

    def claim(self, key: DeviceKey, connection: Guest) -> None:
        """Note whom a connection wants to be, before its login: a revocation meanwhile ends it, too."""
        self._by_device.setdefault(key, set()).add(connection)

    def welcome(self, key: DeviceKey, client_id: str, connection: Guest) -> None:
        """Note a successful login. An older connection of the same client of the same device ends (3.1.4)."""
        if not client_id:
            return
        before = self._sessions.get((key, client_id))
        self._sessions[key, client_id] = connection
        if before is not None:
            before.close("taken over", Ending.TAKEN_OVER)

    def leave(self, connection: Guest) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if not self._all:
            self._nobody.set()
        key = connection.key
        if key is None:
            return
        ours = self._by_device.get(key)
        if ours is not None:
            ours.discard(connection)
            if not ours:
                del self._by_device[key]
        if self._sessions.get((key, connection.client_id)) is connection:
            del self._sessions[key, connection.client_id]

    def end(self, key: DeviceKey) -> None:
        """Close every connection of a device."""
        for connection in tuple(self._by_device.get(key, ())):
            connection.close("revoked", Ending.REVOKED)

    def everyone(self) -> list[Guest]:
        """All connections there are now."""
        return list(self._all)

    async def empty(self, within_s: float) -> None:
        """Return when nobody is connected any more, or after ``within_s``."""
        try:
            async with asyncio.timeout(within_s):
                await self._nobody.wait()
        except TimeoutError:
            return
