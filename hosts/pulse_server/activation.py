"""``POST /api/device/activate``: a device trades its one-time code for its token.

Bare ASGI, so that the device HTTP port and the web port serve the very same thing. Guessing is throttled per address.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog
from pydantic import ValidationError

from pulse_core.errors import NotFound, TemporaryFailure
from pulse_server import problems
from pulse_server.health import answer
from pulse_server.inputs import ActivateBody
from pulse_server.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import MutableMapping

PATH = "/api/device/activate"
_MAX_BODY = 4096
BODY_WITHIN_S = 10.0
_TRIES_PER_MINUTE = 10
_TRIES_AT_ONCE = 10

log = structlog.get_logger(__name__)


class Activate(Protocol):
    """Trades a code for a token."""

    async def activate(self, code: str) -> Any:
        """Return the tenant's id, the device's id and its new token; NotFound for a code that is not valid."""


class _Refused(Exception):  # noqa: N818 - an answer, raised
    def __init__(self, status: int, detail: str, headers: list[tuple[bytes, bytes]] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers or [], more


class ActivationApp:
    """The ASGI app. ``store`` may be set later: until then it answers 503."""

    def __init__(self, store: Activate | None = None) -> None:
        self.store = store
        self._throttle = Throttle(per_minute=_TRIES_PER_MINUTE, burst=_TRIES_AT_ONCE)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        try:
            body = await self._activate(scope, receive)
        except _Refused as refused:
            text = problems.problem(refused.status, refused.detail, **refused.more)
            await answer(send, refused.status, text, problems.CONTENT_TYPE, refused.headers)
        except TemporaryFailure:
            text = problems.problem(503, "the database does not answer; try again")
            await answer(send, 503, text, problems.CONTENT_TYPE, [(b"retry-after", b"2")])
        else:
            await answer(send, 200, msgspec.json.encode(body))

    async def _activate(self, scope: MutableMapping[str, Any], receive: Any) -> dict[str, str]:
        if scope["method"] != "POST":
            raise _Refused(405, "POST only", [(b"allow", b"POST")])
        client = scope.get("client")
        wait_s = self._throttle.wait_s(client[0] if client else "", time.monotonic())
        if wait_s:
            after = str(math.ceil(wait_s)).encode("ascii")
            raise _Refused(429, "too many tries from this address", [(b"retry-after", after)])
        wanted = _parse(await _body(scope, receive))
        if self.store is None:
            raise _Refused(503, "starting; try again", [(b"retry-after", b"2")])
        try:
            granted = await self.store.activate(wanted.code)
        except NotFound as error:
            raise _Refused(404, "this code is not valid: unknown, used or too old") from error
        return {"tenant_id": granted.tenant_id, "device_id": granted.device_id, "token": granted.token}


async def _body(scope: MutableMapping[str, Any], receive: Any) -> bytes:
    headers = dict(scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise _Refused(415, "send Content-Type: application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Refused(400, "the connection was closed")
                body += message.get("body", b"")
                if len(body) > _MAX_BODY:
                    raise _Refused(413, f"at most {_MAX_BODY} bytes", [(b"connection", b"close")])
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError as error:
        raise _Refused(408, "the body did not come in time", [(b"connection", b"close")]) from error


def _parse(raw: bytes) -> ActivateBody:
    try:
        msgspec.json.decode(raw)
        return ActivateBody.model_validate_json(raw)
    except ValidationError as error:
        raise _Refused(422, "some fields are wrong", errors=problems.field_errors(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, "the body is not JSON") from error
