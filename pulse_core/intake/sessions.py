"""Sessions of devices on their way to the database: many at once, each one's deeds in order, none of them forgotten.

What is asked while one transaction runs is the next one, so that a storm of logins costs few. Who opens or saves waits
for the commit, but not for ever; what is left is written as soon as the database answers, and before what comes later.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from pulse_core.device_sessions import Leaving, Opening, Saving, SessionDeed, SessionId, check_session
from pulse_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.ports import Clock, SessionStore
    from pulse_core.records import DeviceKey

log = structlog.get_logger(__name__)

BATCH = 500
"""So many deeds a transaction, at most."""
IN_LINE = 10_000
"""So many may wait for an answer; whoever comes then is sent away."""
WAITING = 50_000
"""So many that were left may wait to be written; beyond that, they are left as if we had died."""
PATIENCE_S = 5.0
"""Who has no answer by then is sent away."""
_GATHER_S = 0.003
_RETRY_S = 0.5
_LAST_WORDS_S = 1.0


_Answer = asyncio.Future[dict[str, int] | None]


class _Wish(Struct, gc=False):
    """A deed in line, and where its answer goes; None: nobody waits for it."""

    deed: SessionDeed
    answer: _Answer | None = None


class SessionKeeper:
    """The sessions of all devices; :meth:`run` writes."""

    def __init__(self, store: SessionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._line: dict[SessionId, deque[_Wish]] = {}
        """What is to be done to each session, its own in order."""
        self._some = asyncio.Event()
        self._asking = 0
        self._leaving = 0
        self._expected: dict[SessionId, Opening] = {}
        """Of each session that is to be opened, the last who wants that."""
        self._connected: dict[SessionId, Opening] = {}
        """Kept sessions that were opened and not left since, by what opened them."""
        self._settled = False
        """Whether what the store takes for connected is, but for what is in line."""

    async def open(self, key: DeviceKey, client_id: str, *, clean: bool, expiry_s: int) -> dict[str, int] | None:
        """See :meth:`pulse_core.ingester.Intake.open_session`."""
        check_session(client_id, expiry_s=expiry_s)
        if clean and not expiry_s:
            self._begin_anew(key, client_id)
            return None
        return await self._ask(Opening(key, client_id, self._clock.now_us(), clean, expiry_s))

    async def save(self, key: DeviceKey, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """See :meth:`pulse_core.ingester.Intake.save_session`."""
        check_session(client_id, subscriptions=subscriptions)
        await self._ask(Saving(key, client_id, self._clock.now_us(), dict(subscriptions)))

    def leave(self, key: DeviceKey, client_id: str, expiry_s: int) -> None:
        """See :meth:`pulse_core.ingester.Intake.leave_session`."""
        check_session(client_id, expiry_s=expiry_s)
        expected = self._expected.pop((key, client_id), None)
        connected = self._connected.pop((key, client_id), None)
        if connected or (expected and expected.expiry_s):
            self._leave(key, client_id, expiry_s)

    def _begin_anew(self, key: DeviceKey, client_id: str) -> None:
        """Nothing to go on with, nothing to keep: what is stored is forgotten in its turn, and the login need not wait.

        Most logins are such, and they come in storms. Only if we die before that is written is the old session back.
        """
        if self._leaving >= WAITING:
            raise StoreUnavailable("too many sessions wait to be forgotten")
        self._expected.pop((key, client_id), None)
        self._connected.pop((key, client_id), None)
        self._leave(key, client_id, 0)

    async def settle(self) -> None:
        """Leave what the store takes for connected and is not: sessions of a process that died, say.

        Raises StoreUnavailable.
        """
        await self._store.leave_all_but([*self._connected, *self._expected], self._clock.now_us())
        self._settled = True

    async def run(self) -> None:
        """Write; runs until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER_S)
            try:
                await self._work()
            except StoreUnavailable as error:
                log.warning("sessions.unwritten", waiting=self._leaving, error=str(error))
                self._send_away(str(error))
                await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        """Write what is left, if that is quick. Nobody gets an answer any more."""
        self._send_away("the platform stops")
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._work()
        except (StoreUnavailable, TimeoutError):
            log.warning("sessions.unwritten", waiting=self._leaving)

    async def _ask(self, deed: Opening | Saving) -> dict[str, int] | None:
        """Put it in line and wait for what comes of it."""
        if self._asking >= IN_LINE:
            raise StoreUnavailable("too many ask for sessions")
        answer: _Answer = asyncio.get_running_loop().create_future()
        if isinstance(deed, Opening):
            self._expected[deed.session] = deed
        self._put(_Wish(deed, answer))
        self._asking += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._given(deed, answer)
        except TimeoutError as error:
            raise StoreUnavailable("the database does not answer in time") from error
        finally:
            self._asking -= 1

    async def _given(self, deed: SessionDeed, answer: _Answer) -> dict[str, int] | None:
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None:  # it came at this very moment
                self._give_back(deed)
            raise

    async def _work(self) -> None:
        if not self._settled:
            await self.settle()
        while batch := self._next_batch():
            await self._carry(batch)
        self._some.clear()

    def _next_batch(self) -> list[_Wish]:
        """The first of each session, at most BATCH. A session that has more in line goes behind the others."""
        batch: list[_Wish] = []
        while self._line and not batch:
            for session in list(itertools.islice(self._line, BATCH)):
                wishes = self._line.pop(session)
                batch.append(wishes.popleft())
                if wishes:
                    self._line[session] = wishes
            batch = [wish for wish in batch if not self._given_up(wish)]
        return batch

    def _given_up(self, wish: _Wish) -> bool:
        if wish.answer is None or not wish.answer.done():
            return False
        self._no_longer_expect(wish.deed)
        return True

    async def _carry(self, batch: list[_Wish]) -> None:
        done = False
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._store.carry([wish.deed for wish in batch])
            done = True
        except TimeoutError as error:
            raise StoreUnavailable("the database does not answer in time") from error
        finally:
            if not done:
                for wish in batch:
                    self._put(wish, first=True)
                self._settled = False  # what was opened may be, though nobody was told so
        for wish, subscriptions in zip(batch, found, strict=True):
            self._note(wish.deed)
            if wish.answer is None:
                self._leaving -= 1
            elif wish.answer.done():
                self._give_back(wish.deed)
            else:
                wish.answer.set_result(subscriptions)

    def _send_away(self, why: str) -> None:
        """Answer all who wait that there is no answer; what was left stays in line."""
        line, self._line = self._line, {}
        for wish in itertools.chain.from_iterable(line.values()):
            if wish.answer is None:
                self._put(wish)
            elif not self._given_up(wish):
                self._no_longer_expect(wish.deed)
                wish.answer.set_exception(StoreUnavailable(why))

    def _note(self, deed: SessionDeed) -> None:
        """It is committed."""
        if isinstance(deed, Opening) and deed.expiry_s:
            self._connected[deed.session] = deed
        elif isinstance(deed, Opening | Leaving):
            self._connected.pop(deed.session, None)
        self._no_longer_expect(deed)

    def _no_longer_expect(self, deed: SessionDeed) -> None:
        if self._expected.get(deed.session) is deed:
            del self._expected[deed.session]

    def _give_back(self, deed: SessionDeed) -> None:
        """Leave what was opened for somebody who had gone, unless somebody else opens it."""
        opened = self._connected.get(deed.session) is deed and deed.session not in self._expected
        if isinstance(deed, Opening) and opened:
            del self._connected[deed.session]
            self._leave(deed.key, deed.client_id, deed.expiry_s)

    def _leave(self, key: DeviceKey, client_id: str, expiry_s: int) -> None:
        if self._leaving >= WAITING:
            self._settled = False
            return
        self._put(_Wish(Leaving(key, client_id, self._clock.now_us(), expiry_s)))
        self._leaving += 1

    def _put(self, wish: _Wish, *, first: bool = False) -> None:
        wishes = self._line.setdefault(wish.deed.session, deque())
        (wishes.appendleft if first else wishes.append)(wish)
        self._some.set()
