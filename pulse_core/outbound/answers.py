"""What a receiver answered, and what that means for a delivery."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from msgspec import Struct

from pulse_core.errors import EndpointGone, PermanentFailure, TemporaryFailure

LONGEST_RETRY_AFTER_S = 12 * 3600.0
"""A receiver may put us off this long at most: the longest wait of the retry schedule."""

_SHOWN_CHARACTERS = 4096
"""More than the ledger keeps of it: that is cut after the secrets are taken out, for half of one goes unnoticed."""

_TEMPORARY = frozenset({408, 425, 429})
_GONE = 410


class HttpAnswer(Struct, frozen=True):
    """An HTTP answer from ``address``. ``headers`` has lower-case names.

    ``truncated``: ``body`` is not all of it, because it is over 64 KB, too slow or broken off.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str
    duration_ms: int
    truncated: bool = False

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def receipt(self) -> str:
        """One line for people and for the delivery's record, with the first part of the body."""
        line = f"HTTP {self.status} from {self.address} in {self.duration_ms} ms"
        start = " ".join(_printable(self.text[: 4 * _SHOWN_CHARACTERS]).split())[:_SHOWN_CHARACTERS]
        return f"{line}: {start}" if start else line

    def raise_for_failure(self) -> HttpAnswer:
        """Return the answer if it is a success (2xx).

        :raises EndpointGone: 410. :raises TemporaryFailure: 408, 425, 429, 5xx, with its ``Retry-After``.
        :raises PermanentFailure: everything else, redirects too, which are never followed.
        """
        family = self.status // 100
        if family == 2:  # noqa: PLR2004 - 2xx
            return self
        if family == 3:  # noqa: PLR2004 - 3xx
            raise PermanentFailure(f"redirects are not followed: {self.receipt}")
        if self.status == _GONE:
            raise EndpointGone(self.receipt)
        if family == 5 or self.status in _TEMPORARY:  # noqa: PLR2004 - 5xx
            wait_s = retry_after_s(self.headers.get("retry-after", ""), time.time())
            raise TemporaryFailure(self.receipt, retry_after_s=wait_s)
        raise PermanentFailure(self.receipt)


def retry_after_s(value: str, now_s: float) -> float | None:
    """Read ``Retry-After`` (RFC 9110, 10.2.3): seconds or an HTTP date. None if absent or unreadable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:12])
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
