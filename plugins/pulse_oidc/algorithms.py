"""Signature algorithms (RFC 7518, RFC 8037): those that we take, what key each needs, and how it hashes."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import jwt
from jwt.exceptions import PyJWTError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
OURS = frozenset(_KEYS)
"""Asymmetric ones alone: with HS256 whoever can check could also sign, and with ``none`` anybody."""

_WEAKEST_RSA_BITS = 2048


def fitting(jwk: Mapping[str, Any]) -> list[str]:
    """The algorithms that a public key may be used with: those of its type, and the one that it names, if it does."""
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return []
    kind = (jwk.get("kty"), jwk.get("crv") if jwk.get("kty") != "RSA" else None)
    return [name for name, needed in _KEYS.items() if needed == kind and jwk.get("alg", name) == name]


def public_key(algorithm: str, jwk: Mapping[str, Any]) -> Any | None:
    """The key for :func:`fits`; None for one that is malformed or weak. Of a private key only the public part."""
    public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}
    try:
        key = jwt.get_algorithm_by_name(algorithm).from_jwk(public)
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if getattr(key, "key_size", _WEAKEST_RSA_BITS) < _WEAKEST_RSA_BITS and "n" in public else key


def fits(algorithm: str, key: Any, signing_input: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature."""
    try:
        return jwt.get_algorithm_by_name(algorithm).verify(signing_input, key, signature)
    except (PyJWTError, ValueError, TypeError):
        return False


def half_hash(algorithm: str, text: str) -> str:
    """The left half of a hash, in base64url: ``at_hash`` (OpenID Connect Core 1.0, 3.1.3.6)."""
    name = "sha512" if algorithm == "EdDSA" else f"sha{algorithm[2:]}"
    whole = hashlib.new(name, text.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode("ascii")
