"""What a receiver checks, and why it does not fit when it does not. Pure: the time is passed in.

A signature that is wrong says nothing about the cause. So the ways in which bodies usually change between the socket
and the check (a newline at the end, JSON that was parsed and written again) are undone, one by one: the one that makes
the signature fit is the cause. Nothing that was changed ever counts as verified.
"""

from __future__ import annotations

import base64
import binascii
import json
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_webhook.signing import decode_secret, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

TOLERANCE_S = 300
"""How far a timestamp may be from now, as the libraries of Standard Webhooks have it."""

_SIGNATURE_BYTES = 32
_LONGEST_TIMESTAMP = 15


class Fault(StrEnum):
    """What is wrong."""

    SECRET = "malformed secret"  # noqa: S105 - the name of a fault
    HEADER = "malformed header"
    BODY = "the body was changed"
    SIGNATURE = "wrong secret, or another message"
    TIMESTAMP = "timestamp outside the tolerance"


class Signed(Struct, frozen=True):
    """A message as it arrived: the three headers, and the body's very bytes."""

    message_id: str
    timestamp: str
    signature: str
    body: bytes


class Verdict(Struct, frozen=True):
    """``fault`` is None for a genuine message of now. ``matched``: which of ``of`` signatures fits, from 1; 0: none."""

    fault: Fault | None
    text: str
    matched: int = 0
    of: int = 0


class _Malformed(ValueError):  # noqa: N818 - a state of a header
    """A header that is not what it should be."""


def verify(secret: str, signed: Signed, now_s: float, tolerance_s: float = TOLERANCE_S) -> Verdict:
    """Say whether whoever knows ``secret`` sent this message, unchanged, within ``tolerance_s`` of ``now_s``."""
    try:
        key = decode_secret(secret)
    except ValueError as error:
        return Verdict(Fault.SECRET, str(error))
    try:
        message_id, timestamp_s, given = _headers(signed)
    except _Malformed as error:
        return Verdict(Fault.HEADER, str(error))
    if not (matched := matches(key, message_id, timestamp_s, signed.body, given)):
        return _unfit(key, message_id, timestamp_s, signed.body, given)
    age_s = now_s - timestamp_s
    if abs(age_s) > tolerance_s:
        when = "old" if age_s > 0 else "ahead of our clock"
        text = (
            f"the signature is right, but the timestamp is {abs(age_s):.0f} s {when} and {tolerance_s:g} s are "
            "allowed: a message that was replayed, or a clock that is wrong"
        )
        return Verdict(Fault.TIMESTAMP, text, matched, len(given))
    return Verdict(None, _which(matched, len(given)), matched, len(given))


def _headers(signed: Signed) -> tuple[str, int, list[bytes]]:
    message_id, timestamp = signed.message_id.strip(), signed.timestamp.strip()
    if not message_id or not message_id.isascii():
        raise _Malformed("webhook-id is empty, or not ASCII")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise _Malformed("webhook-timestamp is not a number of seconds since 1970, as 1767323045")
    return message_id, int(timestamp), _signatures(signed.signature)


def _signatures(header: str) -> list[bytes]:
    """The signatures of scheme ``v1``; those of other schemes are for others."""
    given = []
    for each in header.split():
        scheme, comma, text = each.partition(",")
        if not comma:
            raise _Malformed("webhook-signature is not a list as 'v1,… v1,…': the scheme, a comma, base64")
        if scheme == "v1":
            given.append(_decoded(text))
    if not given:
        raise _Malformed("webhook-signature holds no signature of the scheme v1")
    return given


def _decoded(text: str) -> bytes:
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) != _SIGNATURE_BYTES:
        raise _Malformed(
            "webhook-signature: after 'v1,' stand the 44 characters of a SHA-256 in base64; some are missing"
        )
    return signature


def _unfit(key: bytes, message_id: str, timestamp_s: int, body: bytes, given: list[bytes]) -> Verdict:
    for change, before in _before(body):
        if matches(key, message_id, timestamp_s, before, given):
            return Verdict(
                Fault.BODY, f"the secret is right, but {change}: verify the very bytes that arrived", 0, len(given)
            )
    text = (
        f"none of the {len(given)} signatures fits" if len(given) > 1 else "the signature does not fit"
    ) + ": the secret is another one, or the id, the timestamp or the body are not those that were sent"
    return Verdict(Fault.SIGNATURE, text, 0, len(given))


def _before(body: bytes) -> Iterator[tuple[str, bytes]]:
    """What the body may have been, and what then happened to it."""
    if body != (stripped := body.rstrip(b"\r\n")):
        yield "a line break was added at the end of the body", stripped
    yield "the line break at the end of the body is missing", body + b"\n"
    if b"\r\n" in body:
        yield "the body's line breaks were changed", body.replace(b"\r\n", b"\n")
    if body.startswith(b"\xef\xbb\xbf"):
        yield "a byte order mark was put before the body", body[3:]
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    for ascii_only in (False, True):
        again = json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)
        yield "the body is JSON that was parsed and written again", again.encode("utf-8", "surrogatepass")


def _which(matched: int, of: int) -> str:
    if of == 1:
        return "the signature is right"
    if matched == 1:
        return (
            f"signature 1 of {of} is right: yours is the newest secret (the sender still signs with an older one too)"
        )
    return (
        f"signature {matched} of {of} is right: the sender has a newer secret already, get that one before yours ends"
    )
