"""The auth providers at work: opened and closed together, a token given to the one that issued it."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core.errors import ConfigError, PermanentFailure, PulseError
from pulse_core.outbound import HttpClient, Outbound
from pulse_postgres.identity.active_tenants import ActiveTenants
from pulse_postgres.identity.signing_keys import PostgresSigningKeys
from pulse_postgres.identity.user_sessions import PostgresSessions, PostgresUsers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import asyncpg

    from pulse_core.config import Config
    from pulse_core.identity import AuthProvider, Login, Tokens
    from pulse_core.plugin_set import Plugins
    from pulse_core.principal import Principal
    from pulse_core.secrets import SecretBox

log = structlog.get_logger(__name__)

_LONGEST = 16 * 1024
"""No token that we take is longer; a longer one is not even looked into."""


@dataclass(frozen=True)
class ProviderServices:
    """See :class:`pulse_core.api.AuthServices`."""

    public_url: str
    production: bool
    box: SecretBox
    users: PostgresUsers
    sessions: PostgresSessions
    signing_keys: PostgresSigningKeys
    tenants: ActiveTenants
    outbound_allow: tuple[str, ...]
    allow_plain_http: bool
    log: Any

    def http(self, *origins: str) -> HttpClient:
        """A client that may call these places, and what everybody may call."""
        return HttpClient(Outbound(self.outbound_allow, named=origins), allow_plain_http=self.allow_plain_http)


def lent(plugin: str, config: Config, box: SecretBox, pool: asyncpg.Pool[Any]) -> ProviderServices:
    """What the provider of ``plugin`` works with. ``pool`` logs in as pulse_auth."""
    return ProviderServices(
        public_url=config.issuer,
        production=config.mode == "prod",
        box=box,
        users=PostgresUsers(pool),
        sessions=PostgresSessions(pool),
        signing_keys=PostgresSigningKeys(pool),
        tenants=ActiveTenants(pool),
        outbound_allow=config.outbound.allow,
        allow_plain_http=config.allows_plain_http,
        log=structlog.get_logger(f"plugin.{plugin}").bind(plugin=plugin),
    )


class Providers:
    """All of them, in the order of ``plugins.enabled``."""

    def __init__(self, providers: Sequence[AuthProvider]) -> None:
        self.all = tuple(providers)
        self._by_issuer: dict[str, AuthProvider] = {}

    @classmethod
    async def opened(cls, plugins: Plugins, config: Config, box: SecretBox, pool: asyncpg.Pool[Any]) -> Providers:
        """Build and open one of each. Raises ConfigError: the operator must change something first."""
        made = Providers(
            [
                each(plugins.config_of(each), lent(plugins.plugin_of(each), config, box, pool))
                for each in plugins.auth_providers
            ]
        )
        try:
            await made.open()
        except BaseException:
            await made.close()
            raise
        return made

    async def open(self) -> None:
        """Open each. Raises ConfigError."""
        for provider in self.all:
            await provider.open()
            other = self._by_issuer.setdefault(provider.issuer, provider)
            if other is not provider:
                raise ConfigError(f"two auth providers issue as {provider.issuer!r}: {other.name} and {provider.name}")

    async def close(self) -> None:
        """Close them all, whatever one of them raises."""
        for provider in self.all:
            try:
                await provider.close()
            except Exception as error:
                log.error("provider.close_failed", provider=provider.name, exc_info=error)  # noqa: TRY400 - the same, with our logger

    async def principal(self, token: str) -> Principal | None:
        """Whose bearer token this is, says the one provider that it names as its issuer."""
        provider = self._by_issuer.get(claimed_issuer(token) or "")
        if provider is None:
            return None
        try:
            return await provider.verify_bearer(token)
        except PulseError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            # Its text, and a traceback's, may hold the token.
            log.error("provider.failed", provider=provider.name, error=type(error).__name__)  # noqa: TRY400
            return None

    async def log_in(self, username: str, password: str) -> Tokens | None:
        """Tokens for a name and password, of the first provider that knows them."""
        _, tokens = await self.admit(username, password)
        return tokens

    async def admit(self, username: str, password: str) -> tuple[AuthProvider | None, Tokens | None]:
        """As :meth:`log_in`, with the provider that it was."""
        for provider in self.all:
            login: Login | None = await provider.verify_password(username, password)
            if login is not None:
                return provider, await provider.issue(login)
        return None, None

    def named(self, name: str) -> AuthProvider | None:
        """The provider of that name."""
        return next((provider for provider in self.all if provider.name == name), None)

    async def change_password(self, token: str, current: str, new: str) -> bool:
        """Another password for whoever holds the token, given by the provider that issued it.

        :raises PermanentFailure: the new one is not good enough, or that provider gives none.
        """
        provider = self._by_issuer.get(claimed_issuer(token) or "")
        if provider is None:
            raise PermanentFailure("this token has no password")
        return await provider.change_password(token, current, new)

    async def refresh(self, refresh_token: str) -> Tokens | None:
        """The next pair for a refresh token."""
        for provider in self.all:
            if tokens := await provider.refresh(refresh_token):
                return tokens
        return None

    async def log_out(self, refresh_token: str) -> None:
        """End the session of a refresh token, whoever began it."""
        for provider in self.all:
            await provider.log_out(refresh_token)

    async def published_keys(self) -> list[Mapping[str, Any]]:
        """The public keys of all that issue tokens."""
        return [key for provider in self.all for key in await provider.published_keys()]


def claimed_issuer(token: str) -> str | None:
    """Who is said to have issued a token: not verified, good only for choosing who verifies."""
    if len(token) > _LONGEST or token.count(".") != 2:  # noqa: PLR2004 - head.claims.signature
        return None
    segment = token.split(".")[1]
    try:
        found = json.loads(
            base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)), object_pairs_hook=lambda pairs: [*pairs]
        )
    except (ValueError, RecursionError, binascii.Error):
        return None
    issuers = list(_issuers(found))
    return issuers[0] if len(issuers) == 1 else None


def _issuers(pairs: Any) -> Iterator[str]:
    """Every ``iss`` of a JSON object: of two, none counts."""
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, tuple) and pair[0] == "iss" and isinstance(pair[1], str):
            yield pair[1]
