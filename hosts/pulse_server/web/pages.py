"""Pages for people: who wants one, and how it is made."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from quart import Response, g, redirect, render_template, request

from pulse_core.errors import PulseError
from pulse_server.web.entrance import session
from pulse_server.web.navigation import BEGINS_AT
from pulse_server.web.policy import policy

if TYPE_CHECKING:
    from pulse_core.principal import Principal

_FORMS_TO_US = policy(form_action="'self'")


def wanted() -> bool:
    """Whether this is a browser that shows what it gets: it asks for HTML by name. Everything else is a program."""
    accepted = request.accept_mimetypes
    named = any(kind.lower() == "text/html" and quality > 0 for kind, quality in accepted)
    return named and accepted["text/html"] >= accepted["application/json"]


async def page(template: str, status: int = 200, *, forms: bool = False, **values: Any) -> Response:
    """Answer with a page. ``forms``: it has some, and they are sent to us."""
    text = await render_template(template, **values)
    response = Response(text, status=status, content_type="text/html; charset=utf-8")
    if forms:
        response.headers["Content-Security-Policy"] = _FORMS_TO_US
    return response


def name_of(principal: Principal) -> str:
    """What people are called on their pages."""
    return principal.subject.removeprefix("user:")


async def error_page(
    status: int, detail: str, headers: dict[str, str], errors: list[dict[str, str]] | None
) -> Response:
    """Tell a person what went wrong, and where to go from there."""
    caller = await _caller(status)
    response = await page(
        "error.html",
        status,
        title=HTTPStatus(status).phrase,
        code=status,
        detail=detail,
        errors=errors or [],
        request_id=g.get("request_id"),
        name=name_of(caller) if caller is not None else None,
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


def to(path: str, **query: str) -> Response:
    """Send the browser to a page of ours, to get it."""
    return redirect(f"{path}?{urlencode(query)}" if query else path, 303)  # type: ignore[return-value]


def to_login() -> Response:
    """Send the browser to log in, and then back to what it asked for."""
    asked = request.full_path if request.query_string else request.path
    return to("/login", next=asked)
