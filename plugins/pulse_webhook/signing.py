"""Signatures of Standard Webhooks (https://www.standardwebhooks.com), symmetric scheme ``v1``. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "whsec_"
_SHORTEST_BYTES = 24
_LONGEST_BYTES = 64


def decode_secret(secret: str) -> bytes:
    """Return the key in ``whsec_<base64>``. Raises ValueError whose text never holds the secret."""
    try:
        text = secret.removeprefix(PREFIX)
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _SHORTEST_BYTES <= len(key) <= _LONGEST_BYTES:
        raise ValueError(
            f"a secret is {PREFIX} and the base64 of {_SHORTEST_BYTES} to {_LONGEST_BYTES} random bytes; "
            f'make one with: echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def signatures(secrets: Iterable[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the ``webhook-signature`` header: one signature a secret, the newest secret's first."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return " ".join(f"v1,{_mac(decode_secret(secret), signed)}" for secret in secrets)


def _mac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
