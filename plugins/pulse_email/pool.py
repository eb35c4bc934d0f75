"""The kept sessions of one integration: a few, reused, closed when nobody needs them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pulse_email.session import StaleSessionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pulse_email.session import Outcome, Session

_MOST_SESSIONS = 3
"""At once. Large providers let one user have three."""
_KEPT_FOR_S = 30.0


class Pool:
    """Sends through at most three sessions at once.

    :param connect: makes a new session.
    :param kept_for_s: after this long without use a session is closed.
    """

    def __init__(self, connect: Callable[[], Awaitable[Session]], *, kept_for_s: float = _KEPT_FOR_S) -> None:
        self._connect = connect
        self._kept_for_s = kept_for_s
        self._places = asyncio.Semaphore(_MOST_SESSIONS)
        self._kept: list[Session] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def deliver(self, sender: str, recipients: Sequence[str], content: bytes) -> Outcome:
        """Send one mail; errors as :meth:`Session.deliver`. A kept session that has ended is replaced."""
        async with self._places:
            session = await self._take()
            if session is not None:
                try:
                    return await self._through(session, sender, recipients, content)
                except StaleSessionError:
                    pass  # nothing was said
            return await self._through(await self._connect(), sender, recipients, content)

    async def close(self) -> None:
        """Say goodbye on every session, and wait until all are closed."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._kept:
            self._let_go(self._kept.pop())
        while self._leaving:
            await asyncio.wait(self._leaving)
        for _ in range(2):
            await asyncio.sleep(0)  # the event loop closes sockets in its next rounds

    async def _take(self) -> Session | None:
        while self._kept:
            session = self._kept.pop()  # the one used last: the others grow old and are closed
            try:
                if await session.check():
                    return session
            except BaseException:
                session.abort()
                raise
            session.abort()
        return None

    async def _through(self, session: Session, sender: str, recipients: Sequence[str], content: bytes) -> Outcome:
        try:
            outcome = await session.deliver(sender, recipients, content)
        except BaseException:
            session.abort()
            raise
        if session.usable and not self._closed:
            self._kept.append(session)
            self._plan_sweep()
        else:
            self._let_go(session)
        return outcome

    def _plan_sweep(self) -> None:
        if self._sweep is None and self._kept:
            self._sweep = asyncio.get_running_loop().call_later(self._kept_for_s, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        idle = [session for session in self._kept if session.idle_s >= self._kept_for_s]
        for session in idle:
            self._kept.remove(session)
            self._let_go(session)
        self._plan_sweep()

    def _let_go(self, session: Session) -> None:
        task = asyncio.get_running_loop().create_task(session.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
