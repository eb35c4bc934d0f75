"""Device tokens and activation codes: made here, shown once, kept only as hashes."""

from __future__ import annotations

import hashlib
import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_LOOKS_LIKE = str.maketrans({"I": "1", "L": "1", "O": "0", "-": "", " ": ""})
_LETTERS = 20
_GROUP = 5


def new_token() -> str:
    """A device token: 256 random bits, safe in URLs and headers."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What is kept of a token: SHA-256, because nobody guesses 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def new_code() -> str:
    """An activation code that people can type: 100 random bits as ``4QX7M-0ZR2K-…``."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS))
    return "-".join(letters[start : start + _GROUP] for start in range(0, _LETTERS, _GROUP))


def hash_code(code: str) -> bytes | None:
    """What is kept of a code, however it was typed (case, dashes, O for 0); None for what cannot be a code."""
    letters = code.upper().translate(_LOOKS_LIKE)
    if len(letters) != _LETTERS or not set(letters) <= set(_ALPHABET):
        return None
    return hashlib.sha256(letters.encode()).digest()
