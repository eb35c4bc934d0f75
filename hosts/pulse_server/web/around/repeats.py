"""``Idempotency-Key``: a POST that is sent again, because its answer did not arrive, does nothing twice.

The key is written in the transaction of the deed (:mod:`pulse_postgres.deeds`), the answer after it, sealed. So there
is either no deed and no key, or both; a process that dies between deed and answer leaves a key without one: 409, never
a second deed. What changed nothing (a 4xx, a 503, a dry run) leaves no key.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from quart import Response, current_app, g, request

from pulse_core.errors import PulseError, SecretUnreadable
from pulse_postgres.deeds import DEED, Deed, Repeated
from pulse_server.web.actor import ADMIN
from pulse_server.web.bodies import Problem
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart.typing import ResponseReturnValue

    from pulse_core.secrets import SecretBox
    from pulse_postgres.request_keys import Kept, RequestKeys

log = structlog.get_logger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
WAIT_S = 5.0
"""So long a repetition waits for the answer to the first request."""
WORKING_S = 60.0
"""A request older than this without an answer has died."""

_KEY = re.compile(r"[!-~]{1,255}")
_LOOK_EVERY_S = 0.1
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")
_working: set[asyncio.Task[Response]] = set()


@dataclass(frozen=True)
class _Asked:
    """A request with a key. ``digest`` is of its method, path, query and body."""

    tenant_id: str
    subject: str
    key: str
    digest: str
    keys: RequestKeys
    box: SecretBox


async def once(work: Callable[[], Awaitable[ResponseReturnValue]]) -> ResponseReturnValue:
    """Answer the current request by ``work``, or by what was answered when it was made before.

    Whoever is let in has been let in: call it where the route would be called.
    """
    caller = _caller()
    key = _key() if caller is not None else None
    if key is None or caller is None:
        return await work()
    # A caller that hangs up must find the answer when it comes back: so the work goes on without it.
    task = asyncio.create_task(_once(work, key, *caller))
    _working.add(task)
    task.add_done_callback(_settle)
    return await asyncio.shield(task)


def _settle(task: asyncio.Task[Response]) -> None:
    _working.discard(task)
    if not task.cancelled():
        task.exception()  # its caller has it; or has hung up, and nobody asks


def _key() -> str | None:
    """The key of a POST. Raises Problem (400): it cannot be one."""
    given = request.headers.getlist(HEADER) if request.method == "POST" else []
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Problem(400, f"{HEADER}: once, 1 to 255 visible ASCII characters")
    return given[0]


def _caller() -> tuple[str, str] | None:
    """Tenant ('' for none) and subject; None: a stranger, whose keys are nobody's."""
    principal = g.get("principal")
    if principal is not None:
        return principal.tenant_id or "", principal.subject
    return ("", ADMIN) if "admin" in request.blueprints else None


async def _once(work: Callable[[], Awaitable[ResponseReturnValue]], key: str, tenant_id: str, subject: str) -> Response:
    keys = services().request_keys(tenant_id, subject)
    asked = _Asked(tenant_id, subject, key, await _digest(), keys, services().box)
    if kept := await keys.find(key):
        return await _again(asked, kept)
    deed = Deed(tenant_id, subject, key, asked.box.seal({"sha256": asked.digest}))
    DEED.set(deed)
    try:
        response = await current_app.make_response(await work())
    except Repeated:
        return await _again(asked, await keys.find(key))
    if deed.done:
        await _keep(asked, response)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


async def _digest() -> str:
    body = await request.get_data(cache=True, as_text=False)
    head = f"{request.method} {request.path}?{request.query_string.decode('latin-1')}\n"
    return hashlib.sha256(head.encode() + (body.encode() if isinstance(body, str) else body)).hexdigest()


async def _keep(asked: _Asked, response: Response) -> None:
    """Keep the answer; if that fails, the caller gets it all the same, and whoever repeats the request gets 409."""
    body = await response.get_data(as_text=False)
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    answer = {"status": response.status_code, "headers": headers, "body": body.decode("latin-1")}
    try:
        await asked.keys.keep(asked.key, asked.box.seal(answer))
    except PulseError as error:
        log.warning("answer.not_kept", reason=str(error))
    except Exception:  # the deed is done, whatever this is: say so
        log.exception("answer.not_kept")


async def _again(asked: _Asked, kept: Kept | None) -> Response:
    until = time.monotonic() + WAIT_S
    while kept is not None and _opened(asked, kept.request).get("sha256") == asked.digest:
        if kept.answer is not None:
            return _replayed(_opened(asked, kept.answer))
        if kept.age_s > WORKING_S or time.monotonic() > until:
            raise _lost(kept.age_s)
        await asyncio.sleep(_LOOK_EVERY_S)
        kept = await asked.keys.find(asked.key)
    if kept is None:
        raise _lost(WORKING_S)
    raise Problem(422, f"this {HEADER} belongs to another request: its path or its body was another")


def _opened(asked: _Asked, blob: bytes) -> dict[str, Any]:
    try:
        return asked.box.open(blob)
    except SecretUnreadable:  # the secret key was replaced, and the one before is forgotten
        raise _lost(WORKING_S) from None


def _lost(age_s: float) -> Problem:
    if age_s < WORKING_S:
        return Problem(409, "this was carried out, but is not answered yet: ask again", headers={"Retry-After": "5"})
    return Problem(409, "this was carried out, and its answer is lost: look for the object")


def _replayed(answer: dict[str, Any]) -> Response:
    response = Response(answer["body"].encode("latin-1"), status=answer["status"])
    response.headers.update(answer["headers"])
    response.headers[REPLAYED] = "true"
    return response
