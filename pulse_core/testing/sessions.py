"""Sessions of devices in memory: the twin of the store behind the intake, for tests that need no database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.device_sessions import MOST_A_DEVICE, Leaving, Opening, Saving, SessionDeed, SessionId
from pulse_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pulse_core.records import DeviceKey


class HeldSession(Struct):
    """A session that is kept; ``expires_us`` is None while its connection lasts."""

    subscriptions: dict[str, int]
    expiry_s: int
    updated_us: int
    expires_us: int | None = None


class MemorySessions:
    """Implements :class:`pulse_core.ports.SessionStore`. What it holds is public, for tests to judge."""

    def __init__(self) -> None:
        self.held: dict[SessionId, HeldSession] = {}
        self.batches: list[list[SessionDeed]] = []
        """What :meth:`carry` was given and did."""
        self.settled: list[set[SessionId]] = []
        """What :meth:`leave_all_but` was given."""
        self.down = False
        self.hold: asyncio.Event | None = None
        """Nobody is answered before it is set."""
        self.forgets_to_answer = False
        """Things are done, but whoever asked is told that nobody answers."""

    async def carry(self, deeds: Sequence[SessionDeed]) -> list[dict[str, int] | None]:
        """Do all of it, or nothing."""
        await self._answer()
        self.batches.append(list(deeds))
        done = [self.do(deed) for deed in deeds]
        openings = [deed for deed in deeds if isinstance(deed, Opening)]
        for key in {deed.key for deed in openings}:
            self._keep_the_newest(key, max(deed.at_us for deed in openings))
        if self.forgets_to_answer:
            raise StoreUnavailable("the test says so")
        return done

    async def leave_all_but(self, sessions: Collection[SessionId], at_us: int) -> None:
        """Leave every session that has a connection, but for these."""
        await self._answer()
        self.settled.append(set(sessions))
        for session, held in self.held.items():
            if held.expires_us is None and session not in self.settled[-1]:
                held.expires_us, held.updated_us = at_us + held.expiry_s * 1_000_000, at_us

    def do(self, deed: SessionDeed) -> dict[str, int] | None:
        """Do one thing at once; the subscriptions of a session that goes on."""
        held = self.held.get(deed.session)
        if isinstance(deed, Opening):
            return self._open(deed, held)
        if held is None:
            return None
        held.updated_us = deed.at_us
        if isinstance(deed, Saving):
            held.subscriptions = dict(deed.subscriptions)
        elif isinstance(deed, Leaving) and deed.expiry_s:
            held.expiry_s, held.expires_us = deed.expiry_s, deed.at_us + deed.expiry_s * 1_000_000
        else:
            del self.held[deed.session]
        return None

    def _open(self, deed: Opening, held: HeldSession | None) -> dict[str, int] | None:
        over = held is not None and held.expires_us is not None and held.expires_us <= deed.at_us
        goes_on = None if held is None or over or deed.clean else held.subscriptions
        self.held.pop(deed.session, None)
        if deed.expiry_s:
            self.held[deed.session] = HeldSession(dict(goes_on or {}), deed.expiry_s, deed.at_us)
        return None if goes_on is None else dict(goes_on)

    def _keep_the_newest(self, key: DeviceKey, now_us: int) -> None:
        mine = {session: held for session, held in self.held.items() if session[0] == key}

        def worth(session: SessionId) -> tuple[bool, bool, int, str]:
            held = mine[session]
            connected = held.expires_us is None
            return connected, connected or (held.expires_us or 0) > now_us, held.updated_us, session[1]

        for session in sorted(mine, key=worth, reverse=True)[MOST_A_DEVICE:]:
            del self.held[session]

    async def _answer(self) -> None:
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("the test says so")
