"""What a customer fills in for a webhook."""

from __future__ import annotations

import re

from pulse_core.api import Field, IntegrationConfig, SecretStr, WebUrl, field_validator
from pulse_webhook.signing import decode_secret

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}\Z")
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class WebhookConfig(IntegrationConfig):
    """A webhook: every alert change is POSTed as JSON, and every POST is signed."""

    url: WebUrl
    """Where to POST, https in production. It is shown as it is: put what is secret into a header."""
    secret: SecretStr
    """The signing secret, ``whsec_`` and base64. Make one with `echo "whsec_$(openssl rand -base64 32)"` and
    give it to the receiver, who verifies each POST with any Standard Webhooks library."""
    previous_secret: SecretStr | None = None
    """While you replace the secret: the old one. Each POST then carries both signatures."""
    headers: dict[str, SecretStr] = Field({}, max_length=20)
    """Headers to send along, such as Authorization. Their values are kept secret."""

    @field_validator("secret", "previous_secret")
    @classmethod
    def _decodable(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            decode_secret(secret.get_secret_value())
        return secret

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _NAME.match(name):
                raise ValueError(f"{name[:100]!a} is not the name of a header")
            if name.lower() in _OURS or name.lower().startswith(("webhook-", "proxy-")):
                raise ValueError(f"the header {name} is set by the platform")
            if not _VALUE.match(value.get_secret_value()):
                raise ValueError(f"the value of {name} must be one line of printable ASCII, 4096 at most")
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("two headers have the same name")
        return headers

    @property
    def signing_secrets(self) -> list[str]:
        """The live secrets, the newest first."""
        live = (self.secret, self.previous_secret)
        return [secret.get_secret_value() for secret in live if secret is not None]
