"""Standard Webhooks, the receiver's half, written from the specification.

Source: github.com/standard-webhooks/standard-webhooks. The signed text is
``{webhook-id}.{webhook-timestamp}.{body}``; ``webhook-signature`` holds ``v1,<base64 of HMAC-SHA256>``,
one or more with spaces between; a secret is ``whsec_<base64>``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOLERANCE_S = 300
_PREFIX = "whsec_"


class BadSignature(ValueError):  # noqa: N818 - a verdict
    """The signature does not hold; the text says why."""


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now_s: float) -> None:
    """Check one webhook. ``headers`` must find names in lower case.

    :raises BadSignature: a header is missing, the time is too far off, or no secret of ours made it.
    """
    try:
        message_id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        given = headers["webhook-signature"]
    except KeyError as missing:
        raise BadSignature(f"no {missing.args[0]} header") from missing
    if not stamp.isascii() or not stamp.isdigit() or abs(now_s - int(stamp)) > TOLERANCE_S:
        raise BadSignature(f"webhook-timestamp is not within {TOLERANCE_S} s of now")
    signed = b".".join((message_id.encode(errors="surrogateescape"), stamp.encode(), body))
    candidates = [text[3:].encode(errors="surrogateescape") for text in given.split() if text.startswith("v1,")]
    if not candidates:
        raise BadSignature("no v1 signature")
    for secret in secrets:
        made = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
        if any(hmac.compare_digest(made, candidate) for candidate in candidates):
            return
    raise BadSignature("no secret of ours made this signature")


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise BadSignature("our own secret is not base64") from error
