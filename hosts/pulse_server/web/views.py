"""One path for people and programs: a page and a JSON answer are made of the same value.

A route says ``return await either("customer/devices.html", value)``. Whoever asks for ``text/html`` by name gets the
template with ``it`` being the value, inside the frame of all pages; everybody else gets the value as JSON.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup
from quart import current_app, request

from pulse_core.principal import Role
from pulse_server.reasons import BRIEFLY
from pulse_server.web import after, once, pages, plugin_pages, theme
from pulse_server.web.entrance import csrf, session
from pulse_server.web.entrance.principal import principal
from pulse_server.web.metrics import is_metric
from pulse_server.web.navigation import EVENTS, NAVIGATION
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from quart import Quart, Response

_WRITERS = frozenset({Role.CUSTOMER_ADMIN, Role.OPERATOR_ADMIN})
_STEPS = ((86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (120, 60, "min"), (0, 1, "s"))
"""From so many seconds on, time is told in that unit."""


def install(app: Quart) -> None:
    """Let templates say ``when(a_time)``, ``here(status="OPEN")``, ``theme()``, ``it | text_of``, ``it is metric``.

    And ``lasted(from, to)``, ``briefly[reason]``.
    """
    app.jinja_env.globals.update(when=when, here=here, theme=theme.chosen, lasted=lasted, briefly=BRIEFLY)
    app.jinja_env.filters["text_of"] = text_of
    app.jinja_env.tests["metric"] = is_metric


async def either(
    template: str,
    value: Mapping[str, Any],
    answer: Callable[[Any], Response] = reply,
    *,
    besides: Callable[[], Awaitable[dict[str, Any]]] | None = None,
) -> Response:
    """Answer with a page or with JSON.

    :param answer: makes the JSON answer of ``value``.
    :param besides: looks up what the page alone shows in addition.
    """
    if pages.wanted():
        response = await view(template, it=value, **(await besides() if besides is not None else {}))
    else:
        response = answer(value)
    response.vary.add("Accept")
    return response


async def view(template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a page inside the frame, for the caller whom a blueprint has let in."""
    caller, held = principal(), await session.current()
    said, secret = after.said(), once.shown()
    response = await pages.page(
        template,
        status,
        forms=held is not None,
        caller=caller,
        name=pages.name_of(caller),
        navigation=(*NAVIGATION[caller.role], *plugin_pages.group_of(caller.role)),
        events=EVENTS[caller.role],
        csrf_token=csrf.of_session(held.cookie_id) if held is not None else "",
        held=held,
        said=said,
        secret=secret,
        may_write=held is not None and caller.role in _WRITERS,
        demo=current_app.extensions["services"].config.demo,
        **values,
    )
    if said is not None:
        after.forget(response)
    if secret is not None:
        once.forget(response)
    return response


def here(**changes: str | None) -> str:
    """The address of this page with some of its parameters changed; None, or an empty text, leaves one out."""
    wanted = {**request.args.to_dict(), **changes}
    query = urlencode({name: value for name, value in wanted.items() if value})
    return f"{request.path}?{query}" if query else request.path


def text_of(value: Any, indent: int | None = None) -> str:
    """Anything as JSON for people: a text, which a template escapes as any other."""
    text = msgspec.json.encode(value)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()


def when(moment: dt.datetime | str | None) -> Markup:
    """Tell a time by how far it is from now, with the exact one for whoever points at it."""
    if moment is None:
        return Markup('<span class="soft">never</span>')
    at = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    away_s = (dt.datetime.now(dt.UTC) - at).total_seconds()
    told = _length(abs(away_s))
    text = f"in {told}" if away_s <= -1 else f"{told} ago"
    exact = at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), exact, text)


def lasted(began: dt.datetime, ended: dt.datetime) -> str:
    """Tell how long something went on."""
    return _length(max(0.0, (ended - began).total_seconds()))


def _length(seconds: float) -> str:
    size, unit = next((size, unit) for least, size, unit in _STEPS if seconds >= least)
    return f"{int(seconds // size)} {unit}"
