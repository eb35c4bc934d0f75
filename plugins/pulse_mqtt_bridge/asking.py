"""The questions of brokers, read from HTTP requests: EMQX's (HTTP authn and authz) and mosquitto-go-auth's (HTTP).

=================  ==============================================  ===================================================
                   EMQX 5                                          mosquitto-go-auth
=================  ==============================================  ===================================================
login              JSON as its configuration says; ours has        JSON or form: username, password, clientid
                   username, password, clientid, action "connect"
rights             username, topic, action publish | subscribe     username, topic, clientid, acc 1 read, 2 write,
                                                                   3 read and write, 4 subscribe
yes                200 {"result": "allow"}                         200, and {"ok": true} in its mode "json"
no                 200 {"result": "deny"}; any other status means  any 4xx; in its mode "status" 200 is a yes,
                   *ask the next one*, and in the end perhaps yes  whatever the body says
the secret         any header                                      none but ``http://user:secret@host``, that is Basic
=================  ==============================================  ===================================================

So a no has to differ: a request with ``action`` is EMQX's, and one with neither ``action`` nor ``acc`` that asks for
rights can only be; all others are told with the status as well.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from pulse_mqtt_bridge.rights import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_BODY = 256 * 1024
"""Amply: a topic has 64 KB at most, and JSON may write a byte in six."""
_WITHIN_S = 5.0
_FORM = b"application/x-www-form-urlencoded"
_ACTIONS = {"publish": (Action.PUBLISH,), "subscribe": (Action.SUBSCRIBE,)}
_ACC = {
    "1": (Action.RECEIVE,),
    "2": (Action.PUBLISH,),
    "3": (Action.RECEIVE, Action.PUBLISH),
    "4": (Action.SUBSCRIBE,),
}


class UnreadableError(Exception):
    """This is no question."""


class Question(NamedTuple):
    """What a broker asks. ``actions`` is empty for a login, or for what we do not know."""

    username: str
    password: str
    topic: str
    client_id: str
    actions: tuple[Action, ...]
    wants_status: bool
    """A no must not be a 200."""


def shows_secret(headers: Iterable[tuple[bytes, bytes]], secret: bytes) -> bool:
    """Whether the request knows the secret: ``Authorization`` (Bearer, or Basic with any user), or X-Broker-Secret.

    Takes the same time for every wrong one.
    """
    shown = b""
    for name, value in headers:
        if name == b"x-broker-secret":
            shown = value
        elif name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            shown = rest.strip() if scheme.lower() == b"bearer" else _of_basic(rest)
    return hmac.compare_digest(shown, secret)


def _of_basic(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


async def read_question(scope: Any, receive: Any, *, login: bool) -> Question:
    """Read a request's body. Raises UnreadableError, or TimeoutError."""
    body = b""
    async with asyncio.timeout(_WITHIN_S):
        while True:
            event = await receive()
            if event["type"] != "http.request":
                raise UnreadableError("the broker hung up")
            body += event.get("body", b"")
            if len(body) > _LONGEST_BODY:
                raise UnreadableError("the body is too large")
            if not event.get("more_body"):
                break
    kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
    fields = _form(body) if kind == _FORM else _json(body)
    return question_of(fields, login=login)


def question_of(fields: Mapping[str, Any], *, login: bool) -> Question:
    """Make a question of the fields of a body; missing ones are empty. Raises UnreadableError for wrong types."""
    username, password, topic, client_id = (
        _text(fields, name) for name in ("username", "password", "topic", "clientid")
    )
    action, acc = _text(fields, "action"), fields.get("acc")
    actions = _ACTIONS.get(action, ()) if action else _ACC.get(str(acc), ()) if isinstance(acc, str | int) else ()
    by_emqx = bool(action) or (acc is None and not login)
    return Question(username, password, topic, client_id, () if login else actions, not by_emqx)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableError(f"{name} is not a text")
    return value


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableError("the body is not JSON") from None
    if not isinstance(found, dict):
        raise UnreadableError("the body is not a JSON object")
    return found


def _form(body: bytes) -> Mapping[str, Any]:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
    except (ValueError, UnicodeDecodeError):
        raise UnreadableError("the body is not a form") from None
    return {name: values[0] for name, values in fields.items()}
