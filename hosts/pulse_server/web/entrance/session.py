"""The session that the current request comes with, if it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart import g, request
from quart_auth import AuthUser, current_user, login_user, logout_user

from pulse_server.web.services import services

if TYPE_CHECKING:
    from pulse_server.sessions.desk import Held


def bearer() -> str | None:
    """What is shown as ``Authorization: Bearer``, right or wrong; whoever does so is not asked for a cookie."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def brought() -> str | None:
    """What the cookie holds: an id that we gave once."""
    return current_user.auth_id


async def current() -> Held | None:
    """The session of the cookie, if it holds. Looked up once a request."""
    if "session" not in g:
        cookie_id = brought() if bearer() is None else None
        g.session = await services().sessions.find(cookie_id) if cookie_id else None
    return cast("Held | None", g.session)


def look_again() -> None:
    """Have the session looked up anew, by a request that goes on for long."""
    g.pop("session", None)


def hand_out(cookie_id: str) -> None:
    """Give the browser a session, in place of the one that it had."""
    login_user(AuthUser(cookie_id))
    g.session = None


def forget() -> None:
    """Take the cookie back."""
    logout_user()
    g.session = None
