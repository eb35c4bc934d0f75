"""The page that tells a person what went wrong, and where to go from there."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from quart import Response, g

from pulse_core.errors import PulseError
from pulse_server.web import pages
from pulse_server.web.entrance import session
from pulse_server.web.navigation import BEGINS_AT

if TYPE_CHECKING:
    from pulse_core.principal import Principal


async def error_page(
    status: int, detail: str, headers: dict[str, str], errors: list[dict[str, str]] | None
) -> Response:
    """Tell a person what went wrong, and where to go from there."""
    caller = await _caller(status)
    response = await pages.page(
        "error.html",
        status,
        title=HTTPStatus(status).phrase,
        code=status,
        detail=detail,
        errors=errors or [],
        request_id=g.get("request_id"),
        name=pages.name_of(caller) if caller is not None else None,
        begins_at=BEGINS_AT[caller.role] if caller is not None else "/",
    )
    response.headers.update(headers)
    return response


async def _caller(status: int) -> Principal | None:
    """Who has logged in, as far as that is known; what is broken is not asked once more."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        held = g.get("session")
    else:
        try:
            held = await session.current()
        except PulseError:
            held = None
    return held.principal if held is not None else None
