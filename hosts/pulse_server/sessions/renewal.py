"""Renews the tokens of sessions: for each one at a time, in all processes together.

A refresh token is good for one time, and one that is shown twice ends its session. So whoever renews takes a lease in
the database first; and goes on when the request that began it is gone, for else the next tokens would be lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pulse_core.errors import PulseError, SecretUnreadable, StoreUnavailable, TemporaryFailure
from pulse_server.sessions.asking import WITHIN_S, ask
from pulse_server.sessions.sealing import lifetimes, sealed, unsealed

if TYPE_CHECKING:
    from pulse_core.identity import AuthProvider, Tokens
    from pulse_core.secrets import SecretBox
    from pulse_postgres.identity.browser_sessions import PostgresBrowserSessions
    from pulse_server.providers import Providers

log = structlog.get_logger(__name__)

_LEASE_S = 3 * WITHIN_S
"""Longer than a renewal takes; only after a process that died with it does anybody wait for its end."""
_AGAIN_IN_S = 5.0
_KEEP_TRIES = 10
_KEEP_EVERY_S = 0.5
_FINISH_WITHIN_S = 5.0


class Renewals:
    """Those of one process."""

    def __init__(self, store: PostgresBrowserSessions, providers: Providers, box: SecretBox) -> None:
        self._store = store
        self._providers = providers
        self._box = box
        self._running: dict[bytes, asyncio.Task[None]] = {}

    def start(self, id_hash: bytes, *, early: bool = False) -> asyncio.Task[None]:
        """Renew a session in the background, unless it is not due (but for ``early``) or somebody does so already.

        Await it through :func:`asyncio.shield`. It raises what made it impossible now.
        """
        running = self._running.get(id_hash)
        if running is None:
            running = asyncio.create_task(self._renew(id_hash, early=early), name="renew a session")
            self._running[id_hash] = running
            running.add_done_callback(lambda task: self._done(id_hash, task))
        return running

    async def finish(self) -> None:
        """Let those that run come to their end."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_FINISH_WITHIN_S)

    def _done(self, id_hash: bytes, task: asyncio.Task[None]) -> None:
        del self._running[id_hash]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, PulseError):
            log.warning("session.not_renewed", reason=str(error))
        elif error is not None:
            log.error("session.not_renewed", exc_info=error)

    async def _renew(self, id_hash: bytes, *, early: bool) -> None:
        claimed = await self._store.claim(id_hash, _LEASE_S, early=early)
        provider = self._providers.named(claimed.provider) if claimed is not None else None
        if claimed is None or provider is None:
            return
        try:
            following = await ask(provider, provider.renew(unsealed(claimed.tokens, self._box)))
        except (TemporaryFailure, SecretUnreadable):
            await self._store.not_renewed(id_hash, _AGAIN_IN_S)
            raise
        if following is None:
            await self._store.end(id_hash, having=claimed.tokens)
            return
        await self._keep(id_hash, provider, following)

    async def _keep(self, id_hash: bytes, provider: AuthProvider, tokens: Tokens) -> None:
        """Store the next tokens; there is no second chance to get them, so not even a database that is away ends it."""
        for left in reversed(range(_KEEP_TRIES)):
            try:
                held = await self._store.renewed(id_hash, sealed(tokens, self._box), lifetimes(tokens))
            except StoreUnavailable:
                if not left:
                    raise
                await asyncio.sleep(_KEEP_EVERY_S)
            else:
                if not held:  # somebody has logged out meanwhile
                    await ask(provider, provider.end(tokens, ""))
                return
