"""Every error of the web application as RFC 9457 problem details, or as a page; never a traceback to the peer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog
from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException

from pulse_core.errors import (
    Conflict,
    NotFound,
    PermanentFailure,
    ReadingsAway,
    Stale,
    StoreUnavailable,
    TemporaryFailure,
    TooMany,
)
from pulse_server import problems
from pulse_server.web import pages
from pulse_server.web.bodies import LoginNeeded, Problem
from pulse_server.web.error_page import error_page

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

_RETRY_AFTER_S = 2
_BODY_LEFT = frozenset({408, 413})
"""Answers given before the whole body came: the connection ends with them."""


def install(app: Quart) -> None:
    """Register the handlers."""
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(NotFound, _from_not_found)
    app.register_error_handler(Conflict, _from_conflict)
    app.register_error_handler(Stale, _from_stale)
    app.register_error_handler(TooMany, _from_too_many)
    app.register_error_handler(TemporaryFailure, _from_temporary)
    app.register_error_handler(PermanentFailure, _from_permanent)
    app.register_error_handler(Exception, _from_bug)


async def _respond(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    if pages.wanted():
        return await error_page(status, detail, {"Vary": "Accept", **(headers or {})}, errors)
    body = problems.problem(status, detail, errors=errors, request_id=g.get("request_id"))
    response = Response(body, status=status, content_type=problems.CONTENT_TYPE)
    response.headers.update(headers or {})
    return response


async def _from_http(error: HTTPException) -> Response | HTTPException:
    if isinstance(error, LoginNeeded) and _can_log_in():
        return pages.to_login()
    if isinstance(error, Problem):
        return await _respond(error.code or 500, error.description or "", error.headers, error.errors)
    if error.code is None or error.code < 400:  # noqa: PLR2004 - redirects are answers, not errors
        return error
    if error.code in _BODY_LEFT:
        return await _respond(error.code, error.description or "", {"Connection": "close"})
    kept = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return await _respond(error.code, error.description or "", kept)


def _can_log_in() -> bool:
    """Whether this is a browser that can be sent away and come back: it asks for a page, and not with a token."""
    return pages.wanted() and request.method in {"GET", "HEAD"} and "Authorization" not in request.headers


async def _from_not_found(error: NotFound) -> Response:
    return await _respond(404, str(error))


async def _from_conflict(error: Conflict) -> Response:
    return await _respond(409, str(error))


async def _from_stale(error: Stale) -> Response:
    return await _respond(412, str(error))


async def _from_too_many(error: TooMany) -> Response:
    return await _respond(429, str(error), {"Retry-After": str(math.ceil(error.retry_after_s or 1))})


async def _from_temporary(error: TemporaryFailure) -> Response:
    log.warning("request.unavailable", reason=str(error))
    after = error.retry_after_s if error.retry_after_s is not None else _RETRY_AFTER_S
    return await _respond(503, f"{_absent(error)}; try again", {"Retry-After": str(max(1, round(after)))})


def _absent(error: TemporaryFailure) -> str:
    if isinstance(error, ReadingsAway):
        return "readings cannot be read or kept now: the telemetry store does not answer"
    return f"{'the database' if isinstance(error, StoreUnavailable) else 'something that this needs'} does not answer"


async def _from_permanent(error: PermanentFailure) -> Response:
    return await _respond(422, str(error))


async def _from_bug(error: Exception) -> Response:
    plugin = g.get("plugin")
    log.error("request.failed", plugin=plugin, exc_info=error)
    whose = f"the fault of the plugin {plugin}" if plugin else "our fault"
    return await _respond(500, f"{whose}; the log knows more under this request_id")
