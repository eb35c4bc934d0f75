"""Secrets at rest: the encryption of what :mod:`pulse_core.masking` takes out of a configuration."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pulse_core.errors import SecretUnreadable
from pulse_core.masking import MASK, fingerprint, join_secrets, masked, redacted, split_secrets

__all__ = ["MASK", "SecretBox", "fingerprint", "join_secrets", "masked", "redacted", "split_secrets"]


class SecretBox:
    """Encrypts for storage.

    :param keys: the operator's ``secret_key``; when it is rotated, the new one first, then the ones still in
    use.
    """

    def __init__(self, *keys: str) -> None:
        self._keys = keys
        fernets = [Fernet(_derived(key)) for key in keys]
        self._current = fernets[0]
        self._fernet = MultiFernet(fernets)

    def keys_for(self, purpose: str) -> tuple[bytes, ...]:
        """Keys of 32 bytes for something else than encryption, one from each secret key, the current one's first."""
        return tuple(_stretched(key, f"pulse: {purpose}") for key in self._keys)

    def seal(self, fields: dict[str, Any]) -> bytes:
        """Encrypt JSON-able fields with the first key."""
        return self._fernet.encrypt(json.dumps(fields).encode())

    def open(self, blob: bytes) -> dict[str, Any]:
        """Decrypt with whichever key fits. Raises SecretUnreadable."""
        try:
            fields: dict[str, Any] = json.loads(self._fernet.decrypt(bytes(blob)))
        except InvalidToken:
            raise SecretUnreadable("a stored secret was encrypted with another secret_key") from None
        return fields

    def is_current(self, blob: bytes) -> bool:
        """Whether it was encrypted with the first key."""
        try:
            self._current.decrypt(bytes(blob))
        except InvalidToken:
            return False
        return True

    def reseal(self, blob: bytes) -> bytes:
        """Encrypt a stored secret anew with the first key. Raises SecretUnreadable."""
        return self.seal(self.open(blob))


def _derived(key: str) -> bytes:
    return base64.urlsafe_b64encode(_stretched(key, "pulse: secrets of integrations"))


def _stretched(key: str, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info.encode()).derive(key.encode())
