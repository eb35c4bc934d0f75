"""Tokens, keys, and who one is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, RootModel

from pulse_core.principal import Role
from pulse_server.outputs.answers import Answer
from pulse_server.outputs.sessions import SessionFacts


class TokenPair(Answer):
    """An access token, and what gets the next one (RFC 6749, section 5.1)."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(ge=0)
    """Seconds that the access token is good for."""


class WhoAmI(Answer):
    """Who the caller is."""

    subject: str
    role: Role
    tenant_id: str | None
    """Null for operators."""
    email: str | None
    session: SessionFacts | None = None
    """Of a browser that has logged in."""


class Refreshed(RootModel[TokenPair | WhoAmI]):
    """The next pair of tokens; for a session, who it is of."""


class KeySet(Answer):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, Any]]


class IssuerMetadata(Answer):
    """Who issues tokens here (RFC 8414)."""

    issuer: str
    jwks_uri: str
    response_types_supported: list[str]
