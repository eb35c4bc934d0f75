"""Tokens that were verified a moment ago: the next request of the same caller costs microseconds, not a query."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from msgspec import Struct

from pulse_accounts.jwts import Claims
from pulse_core.api import Principal

HOLDS_S = 2.0
"""So long a session is believed to hold since we last looked: whoever is locked out stays no longer than that."""
_REMEMBERED = 20_000


class Known(Struct, frozen=True):
    """A token that was verified: what it says, whose it was then, and until when (monotonic) that is believed."""

    claims: Claims
    principal: Principal
    until_s: float


class KnownTokens:
    """The tokens last seen, by their hashes. A token that is refused is never in here."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Known] = OrderedDict()

    def get(self, token: str) -> Known | None:
        """What is known of a token."""
        key = _hash(token)
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def put(self, token: str, known: Known | None) -> None:
        """Remember a token; None forgets it."""
        key = _hash(token)
        self._known.pop(key, None)
        if known is not None:
            self._known[key] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
