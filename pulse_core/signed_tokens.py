"""Signed tokens (JWT in JWS compact form, RFC 7519 and RFC 7515) taken apart: into one reading, or none.

Only text is handled here. Whose key signed it, and what is said, is judged by whoever asked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from pulse_core.remembered import Remembered
from pulse_core.strict_json import json_object

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_REMEMBERED = 20_000

T = TypeVar("T")


class SignedToken(Struct, frozen=True):
    """What stands in a token, believed by nobody yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes
    """What ``signature`` signs."""
    signature: bytes


def taken_apart(token: str, *, longest: int) -> SignedToken | None:
    """Read a token in its one form; None for anything else, and for more than ``longest`` characters.

    Three segments in canonical base64url, the first two of them JSON objects (see
    :func:`~pulse_core.strict_json.json_object`). An empty signature is none.
    """
    segments = token.split(".", 3) if len(token) <= longest else ()
    if len(segments) != 3 or not all(_SEGMENT.fullmatch(each) for each in segments):  # noqa: PLR2004 - header.claims.signature
        return None
    head, body, signature = map(_decoded, segments)
    header, claims = json_object(head or b""), json_object(body or b"")
    if header is None or claims is None or not signature:
        return None
    return SignedToken(header, claims, token.rpartition(".")[0].encode("ascii"), signature)


class KnownTokens(Generic[T]):
    """What was found out about the tokens last seen, by their hashes: the next request costs microseconds.

    A token that was refused is never in here, and no token can be read from it.
    """

    def __init__(self) -> None:
        self._known: Remembered[bytes, T] = Remembered(_REMEMBERED)

    def get(self, token: str) -> T | None:
        """What is known of a token."""
        return self._known.get(_hash(token))

    def put(self, token: str, known: T | None) -> None:
        """Remember a token; None forgets it."""
        if known is None:
            self._known.forget(_hash(token))
        else:
            self._known.put(_hash(token), known)


def _decoded(segment: str) -> bytes | None:
    """None where several texts stand for the same bytes, and this is not the first of them."""
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") == segment else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
