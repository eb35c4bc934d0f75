"""Auth providers: how people and programs prove who they are, and what a provider may keep in our database."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from pulse_core.errors import PermanentFailure
from pulse_core.plugin_base import Contribution
from pulse_core.principal import Principal, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulse_core.outbound import HttpClient
    from pulse_core.plugin_base import PluginConfig
    from pulse_core.secrets import SecretBox

AUDIENCE = "pulse"
"""The ``aud`` of every token that is meant for us."""


class Tokens(Struct, frozen=True):
    """What somebody gets who logged in: a JWT for requests, and an opaque token that buys the next pair."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    id_token: str = ""
    """What an OpenID provider said of who logged in (a JWT, too); needed to log out there."""


class Login(Struct, frozen=True):
    """Somebody whose password was right. ``evidence`` is the provider's own, handed back to it as it is."""

    principal: Principal
    evidence: Any = None


class Departure(Struct, frozen=True):
    """Where a browser goes to log in elsewhere.

    ``secret_state`` is the provider's own (state, nonce, PKCE verifier): the host keeps it sealed, for this browser and
    a few minutes, and hands it to :meth:`AuthProvider.complete`, once.
    """

    redirect_url: str
    secret_state: str


class AuthProvider(Contribution):
    """A way to prove who one is. Knows no web framework: it is handed texts, and answers with principals.

    A bearer token is given to the one provider whose :attr:`issuer` it names, and to no other. Whatever is wrong with
    what was shown is None, never a reason: strangers learn nothing. Raise :class:`TemporaryFailure` when you cannot
    know at present (the caller gets 503). Nothing that was shown may be logged.

    Only :attr:`issuer` and :meth:`verify_bearer` must be written. A provider that knows passwords adds
    :meth:`verify_password`, and one that is itself the issuer of its tokens what stands below it. One to which browsers
    are sent adds :meth:`begin` and :meth:`complete`.

    A browser's session is the host's: it keeps the :class:`Tokens`, sealed, asks :meth:`holder` whose they are, has
    them renewed a minute before they expire, and ends them with :meth:`end`.
    """

    def __init__(self, config: PluginConfig, services: AuthServices) -> None:
        self.config = config
        self.services = services

    async def open(self) -> None:
        """Get ready, before the first call. Raise ConfigError when the operator must change something first."""
        return

    async def close(self) -> None:
        """Give back what :meth:`open` took."""
        return

    @property
    @abstractmethod
    def issuer(self) -> str:
        """The ``iss`` of the tokens that it answers for."""

    @property
    def button(self) -> str:
        """What stands on the button that sends a browser to where :meth:`begin` says."""
        return f"Log in with {self.name}"

    @abstractmethod
    async def verify_bearer(self, token: str) -> Principal | None:
        """Whose token this is, checked completely: signature, issuer, audience, times; and that it still holds.

        Whoever was locked out, or whose tenant was suspended, is refused within 5 s, whatever the token says.
        """

    async def verify_password(self, username: str, password: str) -> Login | None:  # noqa: ARG002 - for those that override
        """Whose name and password these are. A wrong password, and a name that nobody has, take the same time."""
        return None

    async def issue(self, login: Login) -> Tokens | None:  # noqa: ARG002
        """Begin a session for what :meth:`verify_password` just returned; None when it holds no longer."""
        return None

    async def refresh(self, refresh_token: str) -> Tokens | None:  # noqa: ARG002
        """Trade a refresh token for a new pair, once: shown again, it ends its session."""
        return None

    async def change_password(self, token: str, current: str, new: str) -> bool:  # noqa: ARG002
        """Give whoever holds ``token`` another password, and end their other sessions. False: ``current`` is not it.

        Raise PermanentFailure when ``new`` is not good enough, or passwords are not given here.
        """
        raise PermanentFailure("passwords are not given here: where you log in, they are")

    async def log_out(self, refresh_token: str) -> None:  # noqa: ARG002
        """End the session of a refresh token; one that is unknown changes nothing."""
        return

    async def begin(self, callback_url: str) -> Departure | None:  # noqa: ARG002
        """Where a browser logs in, to come back at ``callback_url``; None: not elsewhere."""
        return None

    async def complete(self, query: Mapping[str, str], callback_url: str, secret_state: str) -> Tokens | None:  # noqa: ARG002
        """What a browser gets that came back with ``query``; None: that does not fit what :meth:`begin` said."""
        return None

    async def holder(self, tokens: Tokens) -> Principal | None:
        """Whose tokens a session holds, as fast as :meth:`verify_bearer`; None when they hold no longer."""
        return await self.verify_bearer(tokens.access_token)

    async def renew(self, tokens: Tokens) -> Tokens | None:
        """The next tokens of a session; None ends it. Called by one process at a time for one session."""
        return await self.refresh(tokens.refresh_token)

    async def end(self, tokens: Tokens, return_url: str) -> str | None:  # noqa: ARG002
        """End what a session holds; return where the browser must go to log out there, too, and come back from."""
        await self.log_out(tokens.refresh_token)
        return None

    async def published_keys(self) -> Sequence[Mapping[str, Any]]:
        """The public keys (JWK, RFC 7517) with which anybody can check the tokens that it issues."""
        return ()


class Account(Struct, frozen=True):
    """A user. ``active``: may log in now, neither ``disabled`` nor of a suspended tenant."""

    user_id: uuid.UUID
    username: str
    role: Role
    tenant_id: str | None
    email: str
    password_hash: str
    disabled: bool
    active: bool

    @property
    def principal(self) -> Principal:
        """As the platform knows them. The audit log calls them by their name."""
        return Principal(f"user:{self.username}", self.role, self.tenant_id, self.email)


class UserDirectory(Protocol):
    """The users in our database."""

    async def find(self, username: str) -> Account | None:
        """Who has this name."""

    async def note_failure(self, username: str) -> None:
        """Count a wrong password; a name that nobody has changes nothing."""

    async def rehash(self, account: Account, password_hash: str) -> None:
        """Replace the hash of the same password, unless the password was changed meanwhile."""

    async def set_password(self, account: Account, password_hash: str, *, keeping: uuid.UUID) -> bool:
        """Give a user another password, unless it was changed meanwhile; of their sessions, only ``keeping`` stays."""


class Session(Struct, frozen=True):
    """A session that holds at present, and whose it is."""

    session_id: uuid.UUID
    account: Account


class Sessions(Protocol):
    """Sessions, each a chain of refresh tokens of which only the hashes are kept. 12 h idle, 7 days in all."""

    async def begin(self, account: Account, refresh_hash: bytes) -> Session | None:
        """A new session; None: the user is not active any more, or has another password by now."""

    async def renew(self, refresh_hash: bytes, next_hash: bytes) -> Session | None:
        """Use a refresh token up, and put the next one in its place. None: it does not hold.

        One that was used before ends its session: either the thief or the owner shows it for the second time.
        """

    async def end(self, refresh_hash: bytes) -> None:
        """End the session that a refresh token, also a used one, belongs to."""

    async def holding(self, session_id: uuid.UUID) -> Account | None:
        """Whose session this is; None when it has ended, or its user may not log in any more."""


class StoredKey(Struct, frozen=True):
    """A pair of keys. ``signs_in_s``: from then on it signs (negative: since then), by the database's clock.

    ``retired_s``: so long ago another one took over; None: none did yet.
    """

    kid: str
    public_key: bytes
    private_key: bytes
    """Encrypted with the platform's secret key."""
    signs_in_s: float = 0.0
    retired_s: float | None = None


class SigningKeys(Protocol):
    """The keys in our database with which tokens are signed."""

    async def load(self) -> list[StoredKey]:
        """All that anybody may still need, the newest first."""

    async def add(self, key: StoredKey, *, replacing: str | None) -> bool:
        """Store a key, unless the newest is another than ``replacing`` (None: there is none)."""


class TenantStates(Protocol):
    """The tenants in our database, for providers whose users are elsewhere."""

    async def is_active(self, tenant_id: str) -> bool:
        """Whether there is such a tenant and it is not suspended, as of 2 s ago at most. Costs microseconds."""


class AuthServices(Protocol):
    """What the platform lends to an auth provider."""

    @property
    def public_url(self) -> str:
        """Where people and programs reach us: the issuer of our own tokens."""

    @property
    def production(self) -> bool:
        """Whether development accounts must be refused."""

    @property
    def box(self) -> SecretBox:
        """Encrypts what must not stand in the database readably."""

    @property
    def users(self) -> UserDirectory:
        """The users."""

    @property
    def sessions(self) -> Sessions:
        """Their sessions."""

    @property
    def signing_keys(self) -> SigningKeys:
        """The keys that sign their tokens."""

    @property
    def tenants(self) -> TenantStates:
        """Which tenants may log in."""

    def http(self, *origins: str) -> HttpClient:
        """An HTTP client behind the outbound guard, yours to close.

        :param origins: what the operator wrote into your configuration, as ``https://login.example.internal:8443``:
            these may be called although they are not at a public address. Never what came from elsewhere.
        """

    @property
    def log(self) -> Any:
        """A structlog logger that names the plugin in every line."""
