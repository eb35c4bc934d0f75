"""What is answered: 202, or problem details (RFC 9457) that tell a stranger nothing."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pulse_core.api import Reason, Verdict

if TYPE_CHECKING:
    from pulse_core.api import Outcome

RETRY_AFTER_S = 1
"""For 429 and 503: by then a device has earned messages again, and a short outage is over."""

STATUS = {
    Reason.PAYLOAD_TOO_LARGE: 413,
    Reason.BAD_TOPIC_FORMAT: 400,
    Reason.RATE_LIMITED: 429,
    Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD: 422,
    Reason.MISSING_SITE_ID: 422,
    Reason.UNREGISTERED_DEVICE: 401,
    Reason.DEVICE_REVOKED: 401,
    Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD: 422,
    Reason.TOKEN_NOT_SET_IN_REGISTRY: 401,
    Reason.TOKEN_MISSING: 401,
    Reason.TOKEN_INVALID: 401,
    Reason.MALFORMED_JSON: 400,
    Reason.INVALID_FIELD: 422,
    Reason.TIMESTAMP_OUT_OF_RANGE: 422,
    Reason.UNKNOWN_MESSAGE_TYPE: 422,
    Reason.INGEST_EXCEPTION: 422,
}
"""The status of every quarantine reason. 401 is whatever says that a token does not verify."""

UNAUTHORIZED = "UNAUTHORIZED"
"""What a batch's result says instead of any reason whose status is 401."""

_ENCODE = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A whole HTTP response."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def as_json(status: int, content: Any, *headers: tuple[bytes, bytes], kind: bytes = b"application/json") -> Answer:
    """Answer with JSON."""
    body = _ENCODE(content)
    fixed = ((b"content-type", kind), (b"content-length", b"%d" % len(body)))
    return Answer(status, fixed + headers, body)


def problem(status: int, detail: str, *headers: tuple[bytes, bytes], **members: Any) -> Answer:
    """Answer with problem details."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return as_json(status, content, *headers, kind=b"application/problem+json")


CLOSE = (b"connection", b"close")
RETRY_AFTER = (b"retry-after", b"%d" % RETRY_AFTER_S)

ACCEPTED = as_json(202, {"status": "accepted"})
STRANGER = problem(
    401, "the device or its token is not known", (b"www-authenticate", b'X-Provision-Token realm="devices"')
)
NOT_FOUND = problem(404, "there is nothing at this path")
NOT_ALLOWED = problem(405, "only POST", (b"allow", b"POST"))
BODY_TIMEOUT = problem(408, "the body did not end in time", CLOSE)
NOT_JSON = problem(415, "the body must be application/json in UTF-8, not compressed", (b"accept", b"application/json"))
LATER = problem(503, "nothing was taken; send it again", RETRY_AFTER)
STOPPING = problem(503, "nothing was taken; send it again", RETRY_AFTER, CLOSE)


def of_outcome(outcome: Outcome) -> Answer:
    """Answer a single message."""
    if outcome.verdict is Verdict.COMMITTED:
        return ACCEPTED
    if outcome.verdict is Verdict.RETRY_LATER or outcome.reason is None:
        return LATER
    return refused(outcome.reason, outcome.detail)


def refused(reason: Reason, detail: str = "") -> Answer:
    """Answer a refused message: a stranger's always with the same bytes."""
    status = STATUS[reason]
    if status == STRANGER.status:
        return STRANGER
    headers = (RETRY_AFTER,) if status == HTTPStatus.TOO_MANY_REQUESTS else ()
    return problem(status, detail or _WORDS.get(reason, reason), *headers, reason=reason)


_WORDS = {
    Reason.PAYLOAD_TOO_LARGE: "the message is too large",
    Reason.BAD_TOPIC_FORMAT: "a tenant or device id may hold A-Z a-z 0-9 _ . : - and has 64 or 128 characters",
    Reason.RATE_LIMITED: "the device sends too often",
    Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD: "tenant_id differs from the path's",
    Reason.MISSING_SITE_ID: "site_id is missing",
    Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD: "site_id is not the device's",
    Reason.TIMESTAMP_OUT_OF_RANGE: "ts is too far ahead or too long ago",
    Reason.UNKNOWN_MESSAGE_TYPE: "the message type must be heartbeat, telemetry or event",
    Reason.INGEST_EXCEPTION: "the message could not be stored",
}
