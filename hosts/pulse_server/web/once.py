"""What is shown once: a password or a token that was made up, on the page that the browser goes to next.

In between it is kept in the browser itself, encrypted, for a minute, and fits that page and that session alone. So it
stands in no address; going back, or loading the page again, does not show it again; and an answer that gets lost on its
way takes nothing with it.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from quart import request

from pulse_core.errors import SecretUnreadable
from pulse_server.web import pages
from pulse_server.web.entrance import cookies, session
from pulse_server.web.services import services

if TYPE_CHECKING:
    from quart import Response

COOKIE: Final = f"{cookies.PREFIX}-once"
_LASTS_S: Final = 60


class _Kept(Struct, frozen=True, tag="once", forbid_unknown_fields=True):
    """``until``: epoch seconds."""

    secret: str
    path: str
    session: str
    until: float


def to(path: str, secret: str) -> Response:
    """Send the browser to a page of ours, which shows the secret."""
    response = pages.to(path)
    kept = _Kept(secret, path, _session(), time.time() + _LASTS_S)
    value = services().box.seal(msgspec.to_builtins(kept)).decode("ascii")
    cookies.give(response, COOKIE, value, _LASTS_S)
    return response


def shown() -> str | None:
    """What this request's page is to show once."""
    value = request.cookies.get(COOKIE)
    if value is None:
        return None
    try:
        kept = msgspec.convert(services().box.open(value.encode("utf-8", "replace")), _Kept)
    except (SecretUnreadable, msgspec.ValidationError):
        return None
    fits = kept.path == request.path and kept.session == _session() and kept.until > time.time()
    return kept.secret if fits else None


def forget(response: Response) -> None:
    """It has been shown."""
    cookies.take_back(response, COOKIE)


def _session() -> str:
    return hashlib.sha256((session.brought() or "").encode("utf-8", "replace")).hexdigest()
