"""A browser's way to the provider and back (authorization code flow, OpenID Connect Core 1.0, 3.1; PKCE, RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from pulse_oidc.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_oidc.config import OidcConfig
    from pulse_oidc.metadata import Metadata

_LONGEST_CODE = 4096
_ERROR = re.compile(r"[a-z_]{1,40}")


class Journey(Struct, frozen=True):
    """What only we know of a login that has begun."""

    state: str
    nonce: str
    verifier: str
    callback_url: str

    @classmethod
    def begun(cls, callback_url: str) -> Journey:
        """A new one: 256 random bits each."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32), callback_url)

    @classmethod
    def from_text(cls, text: str) -> Journey:
        """As :meth:`to_text` wrote it. Raises Refused."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise Refused("what was kept of its beginning is unreadable") from error

    def to_text(self) -> str:
        """For the host to keep, sealed."""
        return msgspec.json.encode(self).decode()

    def url(self, metadata: Metadata, config: OidcConfig) -> str:
        """Where the browser goes."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": config.client_id,
            "redirect_uri": self.callback_url,
            "scope": " ".join(config.scopes),
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return with_query(metadata.authorization_endpoint, asked)

    def code(self, query: Mapping[str, str], callback_url: str, metadata: Metadata) -> str:
        """The code that a browser brought back from this very journey. Raises Refused."""
        state = query.get("state", "")
        if callback_url != self.callback_url or not hmac.compare_digest(
            state.encode("utf-8", "replace"), self.state.encode()
        ):
            raise Refused("it is another login that comes back (state)")
        if query.get("iss", None if metadata.names_itself else metadata.issuer) != metadata.issuer:
            raise Refused("it comes back from another provider (iss)")
        if "error" in query:
            error = query["error"] if _ERROR.fullmatch(query["error"]) else "with an error"
            raise Refused(f"the provider says no: {error}")
        code = query.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE or not code.isascii():
            raise Refused("it comes back without a code")
        return code


def with_query(url: str, query: Mapping[str, str]) -> str:
    """A URL with more of a query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
