"""The provider's metadata (OpenID Connect Discovery 1.0): where its endpoints are, and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import TypeAdapter, ValidationError

from pulse_core.api import TemporaryFailure, WebUrl
from pulse_oidc.algorithms import OURS
from pulse_oidc.fetching import fetched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import HttpClient

_URL: TypeAdapter[str] = TypeAdapter(WebUrl)


class Metadata(Struct, frozen=True):
    """What we use of it. An endpoint that there is not is empty."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str
    revocation_endpoint: str
    algorithms: frozenset[str]
    """With these it signs ID tokens, of those that we take."""
    client_auth: tuple[str, ...]
    """How a client may prove at the token endpoint that it is itself."""
    names_itself: bool
    """Whether a browser that comes back says from whom (``iss``, RFC 9207)."""


async def discovered(http: HttpClient, issuer: str) -> Metadata:
    """Fetch and read it. Raises TemporaryFailure, whose text tells the operator what to correct."""
    return read(await fetched(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration"), issuer)


def read(document: Mapping[str, Any], issuer: str) -> Metadata:
    """What a document says, if it is this issuer's own, to the letter. Raises TemporaryFailure."""
    said = document.get("issuer")
    if said != issuer:
        raise TemporaryFailure(f"plugins.oidc.issuer is {issuer!r}, but the provider calls itself {_shown(said)}")
    algorithms = OURS.intersection(_words(document, "id_token_signing_alg_values_supported", ("RS256",)))
    if not algorithms:
        raise TemporaryFailure(f"the provider signs with nothing that we take: {', '.join(sorted(OURS))}")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(document, "token_endpoint", issuer),
        jwks_uri=_endpoint(document, "jwks_uri", issuer),
        end_session_endpoint=_endpoint(document, "end_session_endpoint", issuer, needed=False),
        revocation_endpoint=_endpoint(document, "revocation_endpoint", issuer, needed=False),
        algorithms=algorithms,
        client_auth=_words(document, "token_endpoint_auth_methods_supported", ("client_secret_basic",)),
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: Mapping[str, Any], name: str, issuer: str, *, needed: bool = True) -> str:
    """A URL; not in the clear where the issuer is not."""
    url = document.get(name)
    if url is None and not needed:
        return ""
    try:
        found = _URL.validate_python(url, strict=True)
    except ValidationError:
        raise TemporaryFailure(f"the provider's metadata has no proper {name}") from None
    if issuer.startswith("https:") and not found.startswith("https:"):
        raise TemporaryFailure(f"{name} of the provider's metadata is not https")
    return found


def _words(document: Mapping[str, Any], name: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    found = document.get(name, otherwise)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list | tuple) else ()


def _shown(said: Any) -> str:
    return ascii(said[:200]) if isinstance(said, str) else "nothing"
