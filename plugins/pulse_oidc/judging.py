"""Is this token what it should be? Pure, with the time passed in; the signature is another matter.

An ID token says to us, the client, who logged in. An access token says to us, the audience, who calls. One must never
pass for the other, though the same keys sign them.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from pulse_oidc.algorithms import half_hash
from pulse_oidc.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import SignedToken
    from pulse_oidc.config import OidcConfig

LONGEST = 16 * 1024
"""In characters; a longer token is not looked into."""
_ISSUED_AGO_S = 600.0
"""An ID token that somebody just got was made so long ago at most."""
_LONGEST_SUBJECT = 255
_OF_ID_TOKENS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})


def demand_access_token(token: SignedToken, config: OidcConfig, now_s: float) -> None:
    """Return if this is an access token for us, at this time. Raises Refused."""
    claims = token.claims
    _demand_kind_access(token, config)
    _demand_common(claims, config, now_s)
    if config.audience not in audiences(claims):
        raise Refused("its aud does not hold the audience of plugins.oidc")
    if "cnf" in claims:
        raise Refused("it is bound to a key that its bearer would have to prove (cnf)")


def demand_id_token(token: SignedToken, config: OidcConfig, now_s: float) -> None:
    """Return if this is an ID token for us, just made (OpenID Connect Core 1.0, 3.1.3.7). Raises Refused."""
    claims = token.claims
    if _header_type(token) not in {"", "jwt"} or claims.get("typ", "ID") != "ID":
        raise Refused("it is no ID token: typ says so")
    _demand_common(claims, config, now_s)
    demand_for_client(claims, config)
    if number(claims, "iat") < now_s - _ISSUED_AGO_S - config.leeway_s:
        raise Refused("it was made too long ago (iat)")


def demand_pair(id_token: SignedToken, access_token: str) -> None:
    """Return if an ID token whose signature is right came with this access token, so far as it says. Raises Refused."""
    said = id_token.claims.get("at_hash")
    if said is not None and not _same(said, half_hash(id_token.header["alg"], access_token)):
        raise Refused("it belongs to another access token (at_hash)")


def demand_for_client(claims: Mapping[str, Any], config: OidcConfig) -> None:
    """Return if an ID token is for us as a client, and for nobody else instead. Raises Refused."""
    meant = audiences(claims)
    if config.client_id not in meant:
        raise Refused("its aud does not hold our client_id")
    if claims.get("azp", config.client_id if len(meant) == 1 else None) != config.client_id:
        raise Refused("it was made for another client (azp)")


def demand_successor(claims: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Return if an ID token says of the same person what one before it said (12.2). Raises Refused."""
    if (claims["iss"], claims["sub"]) != (before.get("iss"), before.get("sub")):
        raise Refused("the tokens that were renewed were somebody else's")
    for name in ("nonce", "auth_time"):
        if name in claims and claims[name] != before.get(name):
            raise Refused(f"the tokens that were renewed are of another login ({name})")


def demand_nonce(claims: Mapping[str, Any], nonce: str) -> None:
    """Return if this ID token was made for this very login. Raises Refused."""
    if not _same(claims.get("nonce"), nonce):
        raise Refused("it was made for another login (nonce)")


def audiences(claims: Mapping[str, Any]) -> list[str]:
    """Whom a token is for. Raises Refused."""
    found = claims.get("aud")
    listed: list[Any] = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(each, str) for each in listed):
        raise Refused("its aud is neither text nor a list of texts")
    return listed


def number(claims: Mapping[str, Any], name: str) -> float:
    """A point in time (seconds since 1970). Raises Refused."""
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 1e11:  # noqa: PLR2004 - the year 5138
        raise Refused(f"it has no proper {name}")
    return float(found)


def _demand_kind_access(token: SignedToken, config: OidcConfig) -> None:
    """By what the token says it is: ``at+jwt`` in its header (RFC 9068), or ``typ: Bearer`` in its claims (Keycloak).

    One that says nothing is told by its audience, which then must not be ourselves as a client, and by the lack of what
    only ID tokens have.
    """
    kind, said = _header_type(token), token.claims.get("typ")
    if kind == "at+jwt" and said in (None, "Bearer"):
        return
    if kind not in {"", "jwt"} or said not in (None, "Bearer"):
        raise Refused("it is no access token: typ says so")
    if said is None and (config.client_id in audiences(token.claims) or _OF_ID_TOKENS & token.claims.keys()):
        raise Refused("it does not say that it is an access token, and looks like an ID token")


def _demand_common(claims: Mapping[str, Any], config: OidcConfig, now_s: float) -> None:
    subject = claims.get("sub")
    if claims.get("iss") != config.provider:
        raise Refused("its iss is another issuer")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise Refused("it has no proper sub")
    if number(claims, "exp") <= now_s - config.leeway_s:
        raise Refused("it has expired (exp)")
    if number(claims, "iat") > now_s + config.leeway_s:
        raise Refused("it was made in the future (iat)")
    if "nbf" in claims and number(claims, "nbf") > now_s + config.leeway_s:
        raise Refused("it is not valid yet (nbf)")


def _header_type(token: SignedToken) -> str:
    found = token.header.get("typ", "")
    return found.lower().removeprefix("application/") if isinstance(found, str) else "?"


def _same(found: Any, wanted: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode("utf-8", "replace"), wanted.encode())
