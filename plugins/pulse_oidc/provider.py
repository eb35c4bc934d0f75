"""The auth provider: a browser's login elsewhere, its session, its logout; and whose access token this is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from msgspec import Struct

from pulse_core.api import (
    AuthProvider,
    ConfigError,
    Departure,
    KnownTokens,
    PermanentFailure,
    Principal,
    TemporaryFailure,
    Tokens,
    check_tls_trust,
    client_to,
    taken_apart,
)
from pulse_oidc import judging
from pulse_oidc.claims import principal
from pulse_oidc.config import OidcConfig
from pulse_oidc.fetching import fetched
from pulse_oidc.grants import TokenEndpoint
from pulse_oidc.journey import Journey, with_query
from pulse_oidc.keys import Provider, read_keys
from pulse_oidc.metadata import discovered
from pulse_oidc.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import AuthServices, HttpClient, PluginConfig, SignedToken
    from pulse_oidc.grants import Grant

_VERIFIED_HOLDS_S = 30.0
"""So long a signature that was checked is not checked again."""
_CHECK_S = 4.0
"""The platform starts when the self-checks are done."""
_LONGEST_HINT = 4096
"""In characters: a longer ID token would not fit into a URL."""


class Known(Struct, frozen=True):
    """Whose token it is, and until when (Unix time) that is believed without looking into it."""

    principal: Principal
    until_s: float


class OidcProvider(AuthProvider):
    """Users of an OpenID provider; its tokens are judged here, with its published keys."""

    name: ClassVar[str] = "oidc"
    summary: ClassVar[str] = "Users of Keycloak or another OpenID provider."
    config_type: ClassVar[type[PluginConfig]] = OidcConfig
    config: OidcConfig

    def __init__(self, config: PluginConfig, services: AuthServices) -> None:
        super().__init__(config, services)
        self._http: HttpClient
        self._there: Provider
        self._endpoint: TokenEndpoint
        self._bearers: KnownTokens[Known] = KnownTokens()
        self._sessions: KnownTokens[Known] = KnownTokens()
        self._first_look: asyncio.Task[None] | None = None

    @classmethod
    async def check(cls, config: PluginConfig) -> None:
        """Find the provider, its metadata as it should be, and keys."""
        wanted = cast("OidcConfig", config)
        issuer = wanted.provider
        if issuer.startswith("https:"):
            check_tls_trust()
        try:
            async with asyncio.timeout(_CHECK_S), client_to(*wanted.named) as http:
                metadata = await discovered(http, issuer)
                keys = read_keys(await fetched(http, metadata.jwks_uri))
        except TimeoutError as error:
            raise TemporaryFailure(f"{issuer} does not answer within {_CHECK_S:g} s") from error
        if not keys:
            raise PermanentFailure("the provider publishes no key for a signature of those that we take")

    async def open(self) -> None:
        """Begin to look for the provider. One that is away is looked for again when somebody comes."""
        issuer = self.config.provider
        if self.services.production and not issuer.startswith("https:"):
            raise ConfigError("plugins.oidc.issuer: must be https, unless mode is 'dev'")
        self._http = self.services.http(*self.config.named)
        self._there = Provider(self._http, issuer, self.services.log)
        self._endpoint = TokenEndpoint(self._http, self.config)
        self._first_look = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Give the connections back."""
        if self._first_look is not None:
            self._first_look.cancel()
            await asyncio.gather(self._first_look, return_exceptions=True)
            await self._there.close()
            await self._http.close()

    @property
    def issuer(self) -> str:
        """The provider's."""
        return self.config.provider

    @property
    def button(self) -> str:
        """As the operator wrote it."""
        return self.config.button

    async def verify_bearer(self, token: str) -> Principal | None:
        """Whose access token this is. Nothing is fetched but keys, and only for what is right in all the rest."""
        known, now_s = self._bearers.get(token), time.time()
        if known is None or known.until_s <= now_s:
            try:
                known = await self._verified(token, now_s)
            except Refused:
                known = None
            self._bearers.put(token, known)
        return await self._active(known)

    async def begin(self, callback_url: str) -> Departure:
        """To the provider's authorization endpoint."""
        journey = Journey.begun(callback_url)
        return Departure(journey.url(await self._there.metadata(), self.config), journey.to_text())

    async def complete(self, query: Mapping[str, str], callback_url: str, secret_state: str) -> Tokens | None:
        """Trade the code, and believe the ID token if everything about it is right."""
        try:
            journey = Journey.from_text(secret_state)
            metadata = await self._there.metadata()
            code = journey.code(query, callback_url, metadata)
            grant = await self._endpoint.trade(
                metadata, "authorization_code", code=code, redirect_uri=callback_url, code_verifier=journey.verifier
            )
            claims = await self._id_claims(grant)
            judging.demand_nonce(claims, journey.nonce)
            await self._demand_welcome(claims)
        except Refused as refused:
            self.services.log.warning("oidc.login_refused", reason=str(refused))
            return None
        return Tokens(grant.access_token, grant.refresh_token, grant.expires_in_s, grant.id_token)

    async def holder(self, tokens: Tokens) -> Principal | None:
        """By the ID token, which was verified when it came: the access token may be no JWT, or not meant for us."""
        known, now_s = self._sessions.get(tokens.id_token), time.time()
        if known is None:
            try:
                known = self._believed(tokens)
            except Refused:
                return None
            self._sessions.put(tokens.id_token, known)
        return await self._active(known) if known.until_s > now_s else None

    async def renew(self, tokens: Tokens) -> Tokens | None:
        """Trade the refresh token. What comes must hold an ID token, of the same person: their role may be another."""
        before = taken_apart(tokens.id_token, longest=judging.LONGEST)
        if not tokens.refresh_token or before is None:
            return None
        try:
            metadata = await self._there.metadata()
            grant = await self._endpoint.trade(metadata, "refresh_token", refresh_token=tokens.refresh_token)
            claims = await self._id_claims(grant)
            judging.demand_successor(claims, before.claims)
            await self._demand_welcome(claims)
        except Refused as refused:
            self.services.log.info("oidc.session_ended", reason=str(refused))
            return None
        refresh_token = grant.refresh_token or tokens.refresh_token
        return Tokens(grant.access_token, refresh_token, grant.expires_in_s, grant.id_token)

    async def end(self, tokens: Tokens, return_url: str) -> str | None:
        """To the provider's logout (OpenID Connect RP-Initiated Logout 1.0).

        Where there is none, or no browser to send there, the refresh token is revoked. A provider that is away keeps
        nobody from logging out here.
        """
        try:
            metadata = await self._there.metadata()
            leaving = bool(metadata.end_session_endpoint and return_url)
            if not leaving and metadata.revocation_endpoint and tokens.refresh_token:
                await self._endpoint.revoke(metadata, tokens.refresh_token)
        except TemporaryFailure as error:
            self.services.log.warning("oidc.logout_incomplete", reason=str(error))
            return None
        if not leaving:
            return None
        asked = {"client_id": self.config.client_id, "post_logout_redirect_uri": return_url}
        if len(tokens.id_token) <= _LONGEST_HINT:
            asked["id_token_hint"] = tokens.id_token
        return with_query(metadata.end_session_endpoint, asked)

    async def _look(self) -> None:
        """Have metadata and keys before somebody comes; what is wrong is in the log then."""
        with contextlib.suppress(TemporaryFailure):
            await self._there.keys()

    async def _verified(self, token: str, now_s: float) -> Known:
        parts = _parts(token)
        judging.demand_access_token(parts, self.config, now_s)
        whose = principal(parts.claims, self.config)
        await self._there.demand_signed(parts)
        return Known(whose, min(judging.number(parts.claims, "exp") + self.config.leeway_s, now_s + _VERIFIED_HOLDS_S))

    async def _id_claims(self, grant: Grant) -> Mapping[str, Any]:
        parts = _parts(grant.id_token)
        judging.demand_id_token(parts, self.config, time.time())
        await self._there.demand_signed(parts)
        judging.demand_pair(parts, grant.access_token)
        return parts.claims

    def _believed(self, tokens: Tokens) -> Known:
        claims = _parts(tokens.id_token).claims
        if claims.get("iss") != self.issuer:
            raise Refused("another provider was configured then")
        judging.demand_for_client(claims, self.config)
        until_s = judging.number(claims, "iat") + tokens.expires_in_s + self.config.leeway_s
        return Known(principal(claims, self.config), until_s)

    async def _demand_welcome(self, claims: Mapping[str, Any]) -> None:
        """Somebody with a role, and of a tenant that may log in. Raises Refused: the operator is told why."""
        whose = principal(claims, self.config)
        if whose.tenant_id is not None and not await self.services.tenants.is_active(whose.tenant_id):
            raise Refused("their tenant is not here, or suspended")

    async def _active(self, known: Known | None) -> Principal | None:
        """The principal, if their tenant may log in now."""
        if known is None:
            return None
        tenant_id = known.principal.tenant_id
        return known.principal if tenant_id is None or await self.services.tenants.is_active(tenant_id) else None


def _parts(token: str) -> SignedToken:
    parts = taken_apart(token, longest=judging.LONGEST)
    if parts is None:
        raise Refused("it is no signed token")
    return parts
