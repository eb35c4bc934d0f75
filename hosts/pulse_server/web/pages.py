"""Pages for people: who wants one, and how it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from quart import Response, redirect, render_template, request
from werkzeug.exceptions import MethodNotAllowed

from pulse_server.web.policy import policy

if TYPE_CHECKING:
    from pulse_core.principal import Principal

_FORMS_TO_US = policy(form_action="'self'")


def wanted() -> bool:
    """Whether this is a browser that shows what it gets: it asks for HTML by name. Everything else is a program."""
    accepted = request.accept_mimetypes
    named = any(kind.lower() == "text/html" and quality > 0 for kind, quality in accepted)
    return named and accepted["text/html"] >= accepted["application/json"]


def demand_browser(*methods: str) -> None:
    """Let browsers alone in, at an address where a program has other ``methods`` (POST alone, unless they are named).

    Raises :class:`~werkzeug.exceptions.MethodNotAllowed`: it is a program.
    """
    if not wanted():
        raise MethodNotAllowed(methods or ["POST"])


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


def to(path: str, **query: str) -> Response:
    """Send the browser to a page of ours, to get it."""
    return redirect(f"{path}?{urlencode(query)}" if query else path, 303)  # type: ignore[return-value]


def to_login() -> Response:
    """Send the browser to log in, and then back to what it asked for."""
    asked = request.full_path if request.query_string else request.path
    return to("/login", next=asked)
