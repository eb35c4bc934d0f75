"""Who is connected, and which sessions wait for their clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pulse_core.api import Ending

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey
    from pulse_mqtt.session import Session, SessionKey

MOST_LEFT = 20_000
"""Sessions without a connection whose packet ids are remembered; beyond it the oldest are forgotten."""


class Guest(Protocol):
    """A connection, as the roster sees it."""

    @property
    def key(self) -> DeviceKey | None:
        """Whom it wants to be; None before its CONNECT."""

    @property
    def session(self) -> Session | None:
        """Its session; None before its login."""

    def close(self, why: str, ending: Ending) -> None:
        """End it."""

    def give_way(self, *, resumed: bool) -> None:
        """End it: its client has connected anew, and goes on with its session or not. It may not touch it any more."""

    def drain(self) -> None:
        """Let it answer what it owes, then end."""

    def abort(self, why: str, ending: Ending) -> None:
        """Be rid of it."""

    def check_silence(self, now_s: float) -> None:
        """End it if it has been silent for longer than it has promised."""


GuestT = TypeVar("GuestT", bound=Guest)


class Roster(Generic[GuestT]):
    """All connections; by device, to end them; and by session, so that a client has one connection at a time."""

    def __init__(self, max_connections: int) -> None:
        self._limit = max_connections
        self._all: set[GuestT] = set()
        self._by_device: dict[DeviceKey, GuestT | set[GuestT]] = {}
        self._sessions: dict[SessionKey, GuestT] = {}
        self._left: dict[SessionKey, Session] = {}
        self._nobody = asyncio.Event()
        self._nobody.set()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: GuestT) -> bool:
        """Note a new connection; False when there are too many."""
        self._all.add(connection)
        self._nobody.clear()
        return len(self._all) <= self._limit

    def claim(self, key: DeviceKey, connection: GuestT) -> None:
        """Note whom a connection wants to be, before its login: a revocation meanwhile ends it, too."""
        held = self._by_device.get(key)
        if held is None:
            self._by_device[key] = connection
        elif isinstance(held, set):
            held.add(connection)
        else:
            self._by_device[key] = {held, connection}

    def welcome(self, key: SessionKey, connection: GuestT, *, resumed: bool) -> Session | None:
        """Give a session to a connection, and what is remembered of it. Its older connection ends (3.1.4)."""
        before = self._sessions.get(key)
        self._sessions[key] = connection
        left = self._left.get(key)
        if before is not None:
            before.give_way(resumed=resumed)
            left = (
                before.session or left
            )  # a login that is overtaken has no session yet; it passes on what it was given
        if left is not None:
            self._remember(left)
        return left

    def settle(self, key: SessionKey) -> None:
        """The login of the connection that was welcomed last is over: it has what was remembered, or nobody will."""
        self._left.pop(key, None)

    def holds(self, key: SessionKey, connection: GuestT) -> bool:
        """Whether a session is this connection's."""
        return self._sessions.get(key) is connection

    def part(self, session: Session, connection: GuestT) -> bool:
        """A connection has ended: is its session nobody's now? Remember it if it is to go on."""
        if not self.holds(session.key, connection):
            return False
        del self._sessions[session.key]
        if session.expiry_s:
            self._remember(session)
        return True

    def _remember(self, session: Session) -> None:
        if not session.unreleased:
            return
        if len(self._left) >= MOST_LEFT:
            del self._left[next(iter(self._left))]
        self._left[session.key] = session

    def leave(self, connection: GuestT) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if not self._all:
            self._nobody.set()
        key = connection.key
        held = self._by_device.get(key) if key is not None else None
        if key is None or held is None:
            return
        if isinstance(held, set):
            held.discard(connection)
        if not held or held is connection:
            del self._by_device[key]

    def of(self, key: DeviceKey) -> tuple[GuestT, ...]:
        """The connections of a device."""
        held = self._by_device.get(key)
        if held is None:
            return ()
        return tuple(held) if isinstance(held, set) else (held,)

    def end(self, key: DeviceKey) -> None:
        """Close every connection of a device."""
        for connection in self.of(key):
            connection.close("revoked", Ending.REVOKED)

    def everyone(self) -> list[GuestT]:
        """All connections there are now."""
        return list(self._all)

    async def empty(self, within_s: float) -> None:
        """Return when nobody is connected any more, or after ``within_s``."""
        try:
            async with asyncio.timeout(within_s):
                await self._nobody.wait()
        except TimeoutError:
            return
