"""The auth provider: passwords in, tokens out, and whose token is this."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from pulse_accounts import jwts
from pulse_accounts.development import demand_closed
from pulse_accounts.jwts import HOLDS_S, Known
from pulse_accounts.keys import KeyRing
from pulse_accounts.passwords import LONGEST_BYTES, Passwords, WeakPassword, demand_good
from pulse_core.api import AuthProvider, KnownTokens, Login, PulseError, Tokens

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from pulse_accounts.jwts import Claims
    from pulse_core.api import Account, AuthServices, PluginConfig, Principal, Session

_REFRESH_PREFIX = "pulser_"


class AccountsProvider(AuthProvider):
    """Users in our own database; the issuer of its own tokens."""

    name: ClassVar[str] = "accounts"
    summary: ClassVar[str] = "Users in our own database, with passwords."

    def __init__(self, config: PluginConfig, services: AuthServices) -> None:
        super().__init__(config, services)
        self.keys = KeyRing(services)
        self.passwords = Passwords()
        self._known: KnownTokens[Known] = KnownTokens()
        self._notes: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the first key; refuse production while everybody knows somebody's password."""
        if self.services.production:
            await demand_closed(self.services.users, self.passwords)
        await self.keys.open()

    async def close(self) -> None:
        """Write down what is still to be noted."""
        await asyncio.gather(*self._notes)

    @property
    def issuer(self) -> str:
        """The platform itself."""
        return self.services.public_url

    async def verify_bearer(self, token: str) -> Principal | None:
        """Whose token this is: by what was found out a moment ago, or by its signature and its session."""
        known = self._known.get(token)
        if known is not None and known.claims.exp <= time.time():
            known = None
        if known is not None and known.until_s > time.monotonic():
            return known.principal
        claims = known.claims if known is not None else await jwts.verified(token, self.issuer, self.keys)
        looked_at = time.monotonic()
        account = await self.services.sessions.holding(claims.sid) if claims is not None else None
        if claims is None or account is None or not _fits(claims, account):
            self._known.put(token, None)
            return None
        self._known.put(token, Known(claims, account.principal, looked_at + HOLDS_S))
        return account.principal

    async def verify_password(self, username: str, password: str) -> Login | None:
        """Whose name and password these are, by the same work whether there is such a user or not."""
        name = username.lower()
        account = await self.services.users.find(name)
        usable = account is not None and account.active and len(password.encode(errors="replace")) <= LONGEST_BYTES
        stored = account.password_hash if account is not None else None
        matches = await self.passwords.matches(password, stored)
        if account is None or not matches or not usable:
            self._note(self.services.users.note_failure(name))
            return None
        if self.passwords.is_outdated(account.password_hash):
            anew = await asyncio.to_thread(self.passwords.hash, password)
            await self.services.users.rehash(account, anew)
            account = replace(account, password_hash=anew)
        return Login(account.principal, account)

    async def issue(self, login: Login) -> Tokens | None:
        """Begin a session."""
        refresh_token = _new_refresh_token()
        session = await self.services.sessions.begin(login.evidence, _hash(refresh_token))
        return await self._tokens(session, refresh_token)

    async def refresh(self, refresh_token: str) -> Tokens | None:
        """Trade a refresh token for a new pair."""
        if not refresh_token.startswith(_REFRESH_PREFIX):
            return None
        following = _new_refresh_token()
        session = await self.services.sessions.renew(_hash(refresh_token), _hash(following))
        return await self._tokens(session, following)

    async def change_password(self, token: str, current: str, new: str) -> bool:
        """Change the password of the user whose session the token is of; only that session stays."""
        claims = await jwts.verified(token, self.issuer, self.keys)
        account = await self.services.sessions.holding(claims.sid) if claims is not None else None
        if claims is None or account is None or not await self._matches(account, current):
            return False
        demand_good(new, account.username)
        if new == current:
            raise WeakPassword("this is the password that you have")
        hashed = await asyncio.to_thread(self.passwords.hash, new)
        return await self.services.users.set_password(account, hashed, keeping=claims.sid)

    async def log_out(self, refresh_token: str) -> None:
        """End a session."""
        if refresh_token.startswith(_REFRESH_PREFIX):
            await self.services.sessions.end(_hash(refresh_token))

    async def published_keys(self) -> Sequence[Mapping[str, Any]]:
        """The keys that sign, signed, or will sign."""
        return await self.keys.published()

    async def _matches(self, account: Account, password: str) -> bool:
        """Whether it is the user's password; a wrong one is counted."""
        short = len(password.encode(errors="replace")) <= LONGEST_BYTES
        if await self.passwords.matches(password, account.password_hash if short else None):
            return True
        self._note(self.services.users.note_failure(account.username))
        return False

    async def _tokens(self, session: Session | None, refresh_token: str) -> Tokens | None:
        if session is None:
            return None
        kid, key = await self.keys.signing()
        return Tokens(jwts.issue(session, self.issuer, kid, key), refresh_token, jwts.LIFETIME_S)

    def _note(self, work: Coroutine[Any, Any, None]) -> None:
        """Write something down after the answer: waiting for it would tell that there is such a user."""
        task = asyncio.create_task(self._noted(work))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _noted(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PulseError as error:
            self.services.log.warning("login.not_noted", reason=str(error))


def _fits(claims: Claims, account: Account) -> bool:
    """Whether the token says what is so now: a user who got another role needs another token."""
    return (claims.sub, claims.tenant_id, claims.role) == (account.user_id, account.tenant_id, account.role)


def _new_refresh_token() -> str:
    return _REFRESH_PREFIX + secrets.token_urlsafe(32)


def _hash(refresh_token: str) -> bytes:
    return hashlib.sha256(refresh_token.encode("utf-8", "surrogatepass")).digest()
