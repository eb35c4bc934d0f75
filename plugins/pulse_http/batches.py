"""Batches: split into messages without re-encoding them, and answered message by message.

A message that is no JSON must not cost its neighbours: when the batch does not decode as a whole, it is split by
brackets, commas and strings alone, and each piece is judged by itself.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import RawMessage, Reason, Verdict
from pulse_http.answers import LATER, RETRY_AFTER, STATUS, UNAUTHORIZED, Answer, as_json, problem
from pulse_http.requests import well_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pulse_core.api import Outcome

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)
_MOST_TOKENS = 100_000
_MESSAGES_KEY = re.compile(rb'"messages"\s*:\s*\Z')
_KEY_REACH = 64
_IN_ARRAY = 2


class UnreadableError(Exception):
    """The body is not a batch at all: the status to answer with, and why."""

    def __init__(self, status: int, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.answer = problem(status, detail, reason=reason)


class _Batch(msgspec.Struct):
    messages: list[msgspec.Raw]


class _Envelope(msgspec.Struct):
    """What a message in a batch carries that another has in its path and header."""

    tenant_id: str
    device_id: str
    msg_type: str
    provision_token: Any = ""


class Result(msgspec.Struct, omit_defaults=True):
    """One message's part of the answer: ``accepted``, ``rejected`` or, with 503, ``retry``."""

    index: int
    status: str
    reason: str | None = None


_batches = msgspec.json.Decoder(_Batch)
_envelopes = msgspec.json.Decoder(_Envelope)


async def split(body: bytes, max_messages: int) -> list[bytes]:
    """Cut a batch into the bytes of its messages.

    :raises UnreadableError: when it is none, or has more than ``max_messages``.
    """
    messages: list[bytes] | None
    try:
        messages = [bytes(raw) for raw in _batches.decode(body).messages]
    except msgspec.ValidationError as error:
        if " - at `$" in str(error) or "required field" in str(error):
            raise UnreadableError(422, Reason.INVALID_FIELD, "`messages` must be an array") from error
        raise UnreadableError(400, Reason.MALFORMED_JSON, "the body must be a JSON object") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        messages = await asyncio.to_thread(split_roughly, body, max_messages)
    if messages is None:
        raise UnreadableError(400, Reason.MALFORMED_JSON, "the body is not JSON")
    if len(messages) > max_messages:
        raise UnreadableError(413, Reason.PAYLOAD_TOO_LARGE, f"more than {max_messages} messages")
    return messages


def split_roughly(body: bytes, max_messages: int) -> list[bytes] | None:
    """Cut by structure alone; None when there is no array ``messages`` directly in an object that ends.

    A tenth of a second at worst, so it is for a thread.
    """
    pieces: list[bytes] = []
    start, ended = None, False
    try:
        for sign, depth, at in _signs(body):
            if depth != _IN_ARRAY:
                continue
            if start is None and not ended and sign == b"[" and _MESSAGES_KEY.search(body, max(0, at - _KEY_REACH), at):
                start = at + 1
            elif start is not None and sign != b"[":
                pieces.append(body[start:at])
                start, ended = (at + 1, False) if sign == b"," else (None, True)
                if len(pieces) > max_messages:
                    break
    except ValueError:
        return None
    if not ended and len(pieces) <= max_messages:
        return None
    return [] if len(pieces) == 1 and not pieces[0].strip() else pieces


def _signs(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Brackets and commas outside strings, with the depth inside which (or at whose edge) they stand, and where.

    :raises ValueError: when it is not one object that ends, or longer to look at than is right.
    """
    depth = 0
    for count, match in enumerate(_TOKEN.finditer(body)):
        if count > _MOST_TOKENS:
            raise ValueError
        sign = match.group()
        if sign[:1] == b'"':
            continue
        opens = sign in b"[{"
        depth += opens
        yield sign, depth, match.start()
        depth -= not opens and sign != b","
        if opens and depth == 1 and sign != b"{":
            raise ValueError
        if depth <= 0:
            break
    if depth or not body.lstrip().startswith(b"{"):
        raise ValueError


def to_raw(piece: bytes, received_us: int, source: str) -> RawMessage:
    """Make a message of one piece of a batch. One that cannot be read is handed over as refused, to be counted."""
    try:
        envelope = _envelopes.decode(piece)
    except msgspec.ValidationError as error:
        an_object = " - at `$" in str(error) or "required field" in str(error)
        reason = Reason.BAD_TOPIC_FORMAT if an_object else Reason.MALFORMED_JSON
        return RawMessage("", "", "", piece, received_us, source, refused=reason)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RawMessage("", "", "", piece, received_us, source, refused=Reason.MALFORMED_JSON)
    tenant_id, device_id, msg_type = envelope.tenant_id, envelope.device_id, envelope.msg_type
    if not well_named(tenant_id, device_id, msg_type):
        return RawMessage(tenant_id, device_id, msg_type, piece, received_us, source, refused=Reason.BAD_TOPIC_FORMAT)
    token = envelope.provision_token if isinstance(envelope.provision_token, str) else None
    return RawMessage(tenant_id, device_id, msg_type, piece, received_us, source, False, token)


def answer(outcomes: Sequence[Outcome]) -> Answer:
    """Answer a batch: 202 when each message is decided, 503 when any must be sent again.

    Sending the whole batch again is safe: what was taken is recognised (if it has ``ts`` or ``seq``).
    """
    if all(outcome.verdict is Verdict.COMMITTED for outcome in outcomes):
        return _all_accepted(len(outcomes))
    results = [_result(index, outcome) for index, outcome in enumerate(outcomes)]
    accepted = sum(result.status == "accepted" for result in results)
    rejected = sum(result.status == "rejected" for result in results)
    content = {"accepted": accepted, "rejected": rejected, "results": results}
    if accepted + rejected == len(results):
        return as_json(202, content)
    return problem(LATER.status, "not all was taken; send it again", RETRY_AFTER, **content)


@lru_cache(maxsize=16)
def _all_accepted(count: int) -> Answer:
    """Senders have a favourite size."""
    return as_json(202, {"accepted": count, "rejected": 0, "results": [Result(n, "accepted") for n in range(count)]})


def _result(index: int, outcome: Outcome) -> Result:
    if outcome.verdict is Verdict.COMMITTED:
        return Result(index, "accepted")
    if outcome.verdict is Verdict.RETRY_LATER or outcome.reason is None:
        return Result(index, "retry")
    stranger = STATUS[outcome.reason] == HTTPStatus.UNAUTHORIZED
    return Result(index, "rejected", UNAUTHORIZED if stranger else outcome.reason)
