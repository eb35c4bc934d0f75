"""Against requests that another site makes a browser send: a token that only our own pages can know.

Whatever changes something and comes with a session's cookie must show the session's token, in a header or in the form,
and must not say that it comes from elsewhere. Bearer tokens and the admin key need none: no browser adds them itself.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlsplit

from quart import Quart, Response, request
from werkzeug.datastructures import MultiDict

from pulse_server.web.bodies import Problem
from pulse_server.web.entrance import cookies, session
from pulse_server.web.services import services

FIELD: Final = "csrf_token"
HEADER: Final = "X-CSRF-Token"
LOGIN_COOKIE: Final = f"{cookies.PREFIX}-login"

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_GUARDS_ITSELF = "login.log_in"
"""There may be no session yet when its form is sent."""
_LOGIN_LASTS_S = 12 * 3600


def install(app: Quart) -> None:
    """Register the guard, before every route and whatever a blueprint demands."""
    app.before_request(_guard)


async def _guard() -> None:
    """Raises Problem: 403."""
    if request.method in _READING or request.endpoint == _GUARDS_ITSELF or _has_admin_key():
        return
    held = await session.current()
    if held is None:
        return
    demand_ours()
    given = request.headers.get(HEADER) or (await form()).get(FIELD, "")
    if not _fits(given, f"session {held.cookie_id}"):
        raise Problem(403, f"what changes something needs the token of the session: {HEADER}, or {FIELD} in a form")


def demand_ours() -> None:
    """Refuse what a browser says another site made it send. Raises Problem: 403."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in {None, "same-origin", "none"} or not (origin is None or _is_ours(origin)):
        raise Problem(403, "this request comes from another site")


def of_session(cookie_id: str) -> str:
    """The token of a session."""
    return _token(f"session {cookie_id}", services().box.keys_for("csrf")[0])


class LoginForm:
    """The token of the form with which one logs in: it fits a cookie that this browser was given with the form."""

    def __init__(self) -> None:
        self._nonce = request.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(24)
        self.token = _token(f"login {self._nonce}", services().box.keys_for("csrf")[0])

    def bind(self, response: Response) -> None:
        """Give the cookie; a browser that has one keeps it, and so may have several forms open."""
        cookies.give(response, LOGIN_COOKIE, self._nonce, _LOGIN_LASTS_S)

    @staticmethod
    def fits(given: str) -> bool:
        """Whether a form that was sent is one that this browser was given."""
        nonce = request.cookies.get(LOGIN_COOKIE)
        return bool(nonce) and _fits(given, f"login {nonce}")


async def form() -> MultiDict[str, str]:
    """The form that was sent; an empty one for whatever else was."""
    return await request.form if request.mimetype in _FORMS else MultiDict()


def _fits(given: str, subject: str) -> bool:
    tokens = [_token(subject, key) for key in services().box.keys_for("csrf")]
    return any(hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()) for token in tokens)


def _token(subject: str, key: bytes) -> str:
    return hmac.digest(key, subject.encode("utf-8", "replace"), hashlib.sha256).hex()


def _has_admin_key() -> bool:
    """Whether a key is shown where one is asked for: there no cookie opens anything."""
    return "X-Admin-Key" in request.headers and (request.blueprint or "").partition(".")[0] == "admin"


def _is_ours(origin: str) -> bool:
    """By the name that was asked for, or by the one that we are known under: a proxy may change the first."""
    ours = {request.host.lower(), urlsplit(services().config.issuer).netloc.lower()}
    return urlsplit(origin).netloc.lower() in ours
