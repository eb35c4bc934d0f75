"""Signatures of Standard Webhooks (https://www.standardwebhooks.com), symmetric scheme ``v1``. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    macs = (_mac(decode_secret(secret), message_id, timestamp_s, body) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


def matches(key: bytes, message_id: str, timestamp_s: int, body: bytes, given: Sequence[bytes]) -> int:
    """Return which of the signatures ``given`` is the message's under ``key``, from 1; 0 for none. In constant time."""
    mac = _mac(key, message_id, timestamp_s, body)
    fits = [hmac.compare_digest(mac, each) for each in given]
    return fits.index(True) + 1 if True in fits else 0


def _mac(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> bytes:
    return hmac.digest(key, f"{message_id}.{timestamp_s}.".encode() + body, hashlib.sha256)
