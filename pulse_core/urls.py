"""URLs in configurations: what a customer may write where a channel will call."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo
from yarl import URL

from pulse_core.addresses import literal
from pulse_core.errors import OutboundRefused

LONGEST_URL = 2048

NO_PLAIN_HTTP = {"no_plain_http": True}
"""The validation context in which an http URL is refused: when a customer saves one that production would never call.
What is stored already is read without it, and refused when it is called."""


def origin(url: str) -> str:
    """Return ``scheme://host:port`` of an http or https URL: whom it calls, without what may be secret."""
    parsed = URL(url)
    return f"{parsed.scheme}://{parsed.host_subcomponent}:{parsed.port}"


def place(url: str) -> tuple[str, int]:
    """Host and port of an http or https URL, in one notation: lower case, no brackets, no dot at the end."""
    parsed = URL(url)
    return (parsed.raw_host or "").rstrip(".").lower(), parsed.port or 0


def web_url(url: str) -> str:
    """Check an http or https URL. Raises ValueError whose text never holds the URL, for it may be secret."""
    if not url.isprintable() or any(character in url for character in ' \\"<>^`{|}'):
        raise ValueError('a URL holds no spaces and no characters like \\ " < > ^ ` { | }')
    try:
        parsed = URL(url)
    except ValueError:
        raise ValueError("this is not a URL") from None
    if parsed.scheme not in ("https", "http") or not parsed.raw_host or not parsed.port:
        raise ValueError("a URL like https://example.com/path is needed")
    if "@" in parsed.raw_authority:
        raise ValueError("no user name or password in the URL, please: use a header or a secret field")
    if parsed.raw_fragment:
        raise ValueError("a fragment (#…) is never sent: leave it out")
    try:
        literal(parsed.raw_host)
    except OutboundRefused as error:
        raise ValueError(str(error)) from None
    return url


def _shown_url(url: str, info: ValidationInfo) -> str:
    web_url(url)
    if (info.context or {}).get("no_plain_http") and URL(url).scheme != "https":
        raise ValueError("an https: URL is needed: production does not call http:")
    return url


def _secret_url(url: SecretStr, info: ValidationInfo) -> SecretStr:
    _shown_url(url.get_secret_value(), info)
    return url


WebUrl = Annotated[str, AfterValidator(_shown_url), Field(max_length=LONGEST_URL, json_schema_extra={"format": "uri"})]
"""An http or https URL that may be shown. (Production takes and calls https only.)"""

SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url), Field(max_length=LONGEST_URL)]
"""An http or https URL that is itself a secret, as chat services hand them out: encrypted, never shown."""
