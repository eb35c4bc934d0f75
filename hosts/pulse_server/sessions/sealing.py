"""A provider's tokens as they are stored: encrypted with the platform's secret key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pulse_core.identity import Tokens
from pulse_postgres.identity.browser_sessions import Lifetimes

if TYPE_CHECKING:
    from pulse_core.secrets import SecretBox

_AHEAD_S = 60.0
_EARLY_S = 5.0
"""Tokens count as over so long before they are: clocks differ, and a request takes its time."""


def sealed(tokens: Tokens, box: SecretBox) -> bytes:
    """Encrypt."""
    return box.seal(msgspec.to_builtins(tokens))


def unsealed(blob: bytes, box: SecretBox) -> Tokens:
    """Decrypt. Raises SecretUnreadable."""
    return msgspec.convert(box.open(blob), Tokens)


def lifetimes(tokens: Tokens) -> Lifetimes:
    """For how long tokens that were given just now are good, and when the next ones are due: a minute before.

    Of short-lived ones after half of their time; without a refresh token not before they are over.
    """
    good_for_s = max(tokens.expires_in_s - _EARLY_S, 0.0)
    ahead_s = min(_AHEAD_S - _EARLY_S, good_for_s / 2) if tokens.refresh_token else 0.0
    return Lifetimes(good_for_s, good_for_s - ahead_s)
