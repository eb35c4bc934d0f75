"""The token endpoint (RFC 6749, 3.2): what a code, or a refresh token, is traded for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from msgspec import Struct

from pulse_core.api import TemporaryFailure, origin
from pulse_oidc.fetching import posted, the_object
from pulse_oidc.judging import LONGEST
from pulse_oidc.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import HttpClient
    from pulse_oidc.config import OidcConfig
    from pulse_oidc.metadata import Metadata

_OK = 200
_OURS = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"})
"""Errors that are the operator's to correct."""
_USUAL_S, _LONGEST_S = 300, 24 * 3600


class Grant(Struct, frozen=True):
    """What the provider gave. Nothing of it has been judged."""

    access_token: str
    id_token: str
    refresh_token: str
    """Empty: none."""
    expires_in_s: int


class TokenEndpoint:
    """Trades, as the client that we are."""

    def __init__(self, http: HttpClient, config: OidcConfig) -> None:
        self._http = http
        self._config = config

    async def trade(self, metadata: Metadata, grant_type: str, **what: str) -> Grant:
        """Trade a code or a refresh token.

        :raises Refused: it is not good (any more). :raises TemporaryFailure: that cannot be known at present.
        """
        headers, form = self._authenticated(metadata)
        form |= {"grant_type": grant_type, **what}
        answer = await posted(self._http, metadata.token_endpoint, form, headers)
        given = the_object(answer, metadata.token_endpoint)
        if answer.status != _OK:
            raise _failure(answer.status, given, metadata.token_endpoint)
        return _grant(given)

    async def revoke(self, metadata: Metadata, refresh_token: str) -> None:
        """Make a refresh token worthless (RFC 7009). Raises TemporaryFailure."""
        headers, form = self._authenticated(metadata)
        form |= {"token": refresh_token, "token_type_hint": "refresh_token"}
        await posted(self._http, metadata.revocation_endpoint, form, headers)

    def _authenticated(self, metadata: Metadata) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and form that say who we are, in a way that the provider takes."""
        client_id, secret = self._config.client_id, self._config.client_secret
        if secret is None:
            return {}, {"client_id": client_id}
        if "client_secret_basic" in metadata.client_auth:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret.get_secret_value())}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, {}
        if "client_secret_post" in metadata.client_auth:
            return {}, {"client_id": client_id, "client_secret": secret.get_secret_value()}
        raise TemporaryFailure("the provider takes a client_secret neither in a header nor in a form")


def _failure(status: int, answer: Mapping[str, Any], url: str) -> Refused | TemporaryFailure:
    error = answer.get("error")
    if error == "invalid_grant":
        return Refused("the provider does not take this code or refresh token (any more)")
    if isinstance(error, str) and error in _OURS:
        return TemporaryFailure(f"{origin(url)} answers {error}: correct [plugins.oidc], or the client's registration")
    return TemporaryFailure(f"{origin(url)} answers HTTP {status}")


def _grant(answer: Mapping[str, Any]) -> Grant:
    if str(answer.get("token_type", "")).lower() != "bearer":
        raise Refused("the provider gave tokens of another type than Bearer")
    expires_in = answer.get("expires_in", _USUAL_S)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not 0 < expires_in <= 10**9:
        raise Refused("the provider gave tokens that have expired, or says so unreadably")
    return Grant(
        access_token=_token(answer, "access_token"),
        id_token=_token(answer, "id_token"),
        refresh_token=_token(answer, "refresh_token", needed=False),
        expires_in_s=max(1, min(int(expires_in), _LONGEST_S)),
    )


def _token(answer: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    found = answer.get(name, "")
    if not isinstance(found, str) or not found.isascii() or not found.isprintable() or len(found) > LONGEST:
        raise Refused(f"the provider gave an improper {name}")
    if needed and not found:
        raise Refused(f"the provider gave no {name}")
    return found
