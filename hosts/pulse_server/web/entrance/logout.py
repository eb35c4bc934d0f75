"""``/logout``: the end of a browser's session, here and where its holder logged in."""

from __future__ import annotations

from urllib.parse import urlsplit

from quart import Blueprint, Response

from pulse_server.outputs.sessions import LoggedOut
from pulse_server.web import pages
from pulse_server.web.described import described, page
from pulse_server.web.entrance import csrf, session
from pulse_server.web.replies import reply
from pulse_server.web.services import services

blueprint = Blueprint("logout", __name__)


@blueprint.get("/logout")
@page
async def ask() -> Response:
    """Ask whether to log out."""
    pages.demand_browser()
    held = await session.current()
    if held is None:
        return await pages.page("logged_out.html")
    token = csrf.of_session(held.cookie_id)
    return await pages.page("logout.html", forms=True, csrf_token=token, name=pages.name_of(held.principal))


@blueprint.post("/logout")
@described(LoggedOut)
async def log_out() -> Response:
    """End the session of the cookie; without one, nothing happens.

    A program is told where to log out as well, if that is elsewhere. A browser is led there by a page in between: what
    a form's answer redirects to, Chromium lets only be what ``form-action`` names.
    """
    held = await session.current()
    away = await services().sessions.end(held, f"{services().config.issuer}/login") if held is not None else None
    if away is not None and urlsplit(away).scheme not in {"http", "https"}:
        away = None
    if session.brought() is not None:  # a browser hides the cookie from what another site sends: it shall keep it
        session.forget()
    if not pages.wanted():
        return reply({"logout_url": away})
    if away is None:
        return pages.to("/login", notice="logged-out")
    response = await pages.page("away.html", url=away, host=urlsplit(away).netloc)
    response.headers["Refresh"] = f"0; url={away}"
    return response
