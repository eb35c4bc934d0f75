"""Whose session a browser has: looked up once a second for each session, whatever is asked with it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from pulse_core.errors import SecretUnreadable, StoreUnavailable, TemporaryFailure
from pulse_core.principal import Principal
from pulse_core.remembered import Remembered
from pulse_server.sessions.asking import WITHIN_S, Faulty, ask, issues
from pulse_server.sessions.renewal import Renewals
from pulse_server.sessions.sealing import lifetimes, sealed, unsealed

if TYPE_CHECKING:
    from pulse_core.config import SessionsConfig
    from pulse_core.identity import AuthProvider, Tokens
    from pulse_core.secrets import SecretBox
    from pulse_postgres.identity.browser_sessions import Ended, PostgresBrowserSessions, Stored
    from pulse_server.providers import Providers

log = structlog.get_logger(__name__)

BELIEVED_S = 1.0
"""So long a session is believed to hold since we last looked. A provider believes itself for 2 s, so that whoever is
locked out stays for no more than 3."""
_REMEMBERED = 20_000
_LOOK_AGAIN_S = 0.1


class Held(Struct, frozen=True):
    """A session that holds: what the cookie holds, and who has it."""

    cookie_id: str
    provider: str
    principal: Principal
    expires_at: datetime


class BrowserSessions:
    """All sessions of browsers, as one process knows them."""

    def __init__(
        self, store: PostgresBrowserSessions, providers: Providers, box: SecretBox, config: SessionsConfig
    ) -> None:
        self._store = store
        self._providers = providers
        self._box = box
        self._longest_s = config.longest_s
        self._renewals = Renewals(store, providers, box)
        self._known: Remembered[bytes, tuple[Held, float]] = Remembered(_REMEMBERED)
        self._looks: dict[bytes, asyncio.Task[Held | None]] = {}

    async def close(self) -> None:
        """Let renewals come to their end: their tokens would be lost."""
        await self._renewals.finish()

    async def begin(
        self, provider: AuthProvider, tokens: Tokens, *, brought: str | None = None, departure_hash: bytes | None = None
    ) -> str | None:
        """A new session; return what its cookie holds. None: the tokens do not hold.

        :param brought: what the browser's cookie held before: that session ends.
        :param departure_hash: what the browser brought back from elsewhere, good for one time: raises Conflict.
        """
        principal = await ask(provider, provider.holder(tokens))
        if principal is None:
            return None
        cookie_id = secrets.token_urlsafe(32)
        await self._store.begin(
            _hash(cookie_id),
            provider.name,
            principal,
            sealed(tokens, self._box),
            longest_s=self._longest_s,
            lifetimes=lifetimes(tokens),
            departure_hash=departure_hash,
            noted=issues(provider),
        )
        if brought is not None:
            await self._replace(brought)
        return cookie_id

    async def find(self, cookie_id: str) -> Held | None:
        """The session of a cookie; None when it is over. As a rule without a query.

        :raises TemporaryFailure: its tokens are over, and the provider cannot renew them at present.
        """
        id_hash = _hash(cookie_id)
        held, until_s = self._known.get(id_hash) or (None, 0.0)
        if held is not None and until_s > time.monotonic():
            return held
        return await asyncio.shield(self._look(id_hash, cookie_id))

    async def renew(self, cookie_id: str) -> Held | None:
        """Renew a session's tokens now, though they may not be due."""
        id_hash = _hash(cookie_id)
        await asyncio.shield(self._renewals.start(id_hash, early=True))
        self._known.forget(id_hash)
        return await self.find(cookie_id)

    async def access_token(self, held: Held) -> str | None:
        """What its provider knows the session by; None when it is over."""
        stored = await self._store.read(_hash(held.cookie_id))
        return unsealed(stored.tokens, self._box).access_token if stored is not None else None

    async def end(self, held: Held, return_url: str) -> str | None:
        """End a session here and at its provider; return where the browser must go to log out there, too."""
        provider = self._providers.named(held.provider)
        ended = await self._ended(held.cookie_id, noted=provider is not None and issues(provider))
        return await self._end_tokens(ended, return_url) if ended is not None else None

    async def _replace(self, cookie_id: str) -> None:
        """End a session that another takes the place of.

        Not at a provider elsewhere: it may well have given the new tokens on the strength of that very login.
        """
        ended = await self._ended(cookie_id, noted=True)
        provider = self._providers.named(ended.provider) if ended is not None else None
        if ended is not None and provider is not None and issues(provider):
            await self._end_tokens(ended, "")

    async def _ended(self, cookie_id: str, *, noted: bool) -> Ended | None:
        id_hash = _hash(cookie_id)
        self._known.forget(id_hash)
        ended = await self._store.end(id_hash, noted=noted)
        self._known.forget(id_hash)
        return ended

    async def _end_tokens(self, ended: Ended, return_url: str) -> str | None:
        """Whatever the provider says: here the session has ended."""
        provider = self._providers.named(ended.provider)
        if provider is None:
            return None
        try:
            return await ask(provider, provider.end(unsealed(ended.tokens, self._box), return_url))
        except (TemporaryFailure, SecretUnreadable) as error:
            log.warning("session.not_ended_at_provider", provider=provider.name, reason=str(error))
            return None

    def _look(self, id_hash: bytes, cookie_id: str) -> asyncio.Task[Held | None]:
        """Look a session up; all who ask for it meanwhile share the answer."""
        running = self._looks.get(id_hash)
        if running is None:
            running = asyncio.create_task(self._looked_up(id_hash, cookie_id), name="look a session up")
            self._looks[id_hash] = running
            running.add_done_callback(lambda task: self._looked(id_hash, task))
        return running

    def _looked(self, id_hash: bytes, task: asyncio.Task[Held | None]) -> None:
        del self._looks[id_hash]
        if not task.cancelled():
            task.exception()  # whoever asked was told; perhaps nobody waits any more

    async def _looked_up(self, id_hash: bytes, cookie_id: str) -> Held | None:
        looked_at = time.monotonic()
        self._known.forget(id_hash)
        while True:
            stored = await self._good(id_hash)
            if stored is None:
                return None
            try:
                principal = await self._principal(stored)
            except SecretUnreadable as error:  # a process with another key may well read it
                log.warning("session.unreadable", session=str(stored.session_id), reason=str(error))
                return None
            if principal is not None:
                if not stored.vouched:
                    await self._store.vouch(id_hash, stored.tokens, principal)
                break
            if await self._store.end(id_hash, having=stored.tokens) is not None:
                return None
        held = Held(cookie_id, stored.provider, principal, stored.expires_at)
        self._known.put(id_hash, (held, looked_at + BELIEVED_S))
        return held

    async def _good(self, id_hash: bytes) -> Stored | None:
        """The session with tokens that are good; waits for the next ones if they are not."""
        end_s = time.monotonic() + WITHIN_S
        while (stored := await self._store.read(id_hash)) is not None:
            if stored.good_for_s > 0:
                if stored.due_in_s <= 0 and not stored.being_renewed:
                    self._renewals.start(id_hash)
                return stored
            if time.monotonic() > end_s or (stored.due_in_s > 0 and not stored.being_renewed):
                raise TemporaryFailure(f"{stored.provider} cannot renew a session at present")
            if stored.being_renewed:
                await asyncio.sleep(_LOOK_AGAIN_S)
            else:
                await asyncio.shield(self._renewals.start(id_hash))
        return None

    async def _principal(self, stored: Stored) -> Principal | None:
        """Whose tokens these are, says their provider, of the same tenant as at the login; None ends the session.

        A provider elsewhere that is away takes nothing from anybody: what it said of these tokens is so until they are
        over. Our own database is what tells who was locked out: without it nobody is let in.
        """
        provider = self._providers.named(stored.provider)
        if provider is None:
            return None
        tokens = unsealed(stored.tokens, self._box)
        try:
            found = await ask(provider, provider.holder(tokens))
        except (StoreUnavailable, Faulty):
            raise
        except TemporaryFailure as error:
            if not stored.vouched or issues(provider):
                raise
            log.warning("provider.away", provider=provider.name, reason=str(error))
            return stored.principal
        return found if found is not None and found.tenant_id == stored.principal.tenant_id else None


def _hash(cookie_id: str) -> bytes:
    return hashlib.sha256(cookie_id.encode("utf-8", "surrogatepass")).digest()
