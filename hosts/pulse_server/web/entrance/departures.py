"""Browsers that are logging in elsewhere: what their provider wants to know again when they are back.

It is kept in the browser itself, encrypted, for ten minutes, in a cookie for each departure: they are told apart by the
``state`` that the provider put into the address, so that two tabs do not disturb each other.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct
from quart import request

from pulse_core.errors import SecretUnreadable
from pulse_server.web.entrance import cookies
from pulse_server.web.services import services

if TYPE_CHECKING:
    from quart import Response

    from pulse_core.identity import AuthProvider, Departure

LASTS_S: Final = 600
_PREFIX = f"{cookies.PREFIX}-away-"
_AT_ONCE = 5
"""More than so many at once nobody means: the others are forgotten, for a request's head is bounded."""


class Away(Struct, frozen=True, tag="away", forbid_unknown_fields=True):
    """A browser that left for ``provider`` and then wants to go to ``onward``. ``until``: epoch seconds."""

    provider: str
    secret_state: str
    onward: str
    until: float


class Back(NamedTuple):
    """One that came back. ``mark`` is the same when it comes back with the same again."""

    away: Away
    cookie: str
    mark: bytes


def note(response: Response, provider: AuthProvider, departure: Departure, onward: str) -> None:
    """Keep a departure in the browser."""
    others = sorted(name for name in request.cookies if name.startswith(_PREFIX))
    for name in others if len(others) >= _AT_ONCE else ():
        cookies.take_back(response, name)
    state = parse_qs(urlsplit(departure.redirect_url).query).get("state", [""])[0]
    away = Away(provider.name, departure.secret_state, onward, time.time() + LASTS_S)
    value = services().box.seal(msgspec.to_builtins(away)).decode("ascii")
    cookies.give(response, _name(state), value, LASTS_S)


def back() -> Back | None:
    """The departure that the current request comes back from; None: it was not begun here, or takes too long."""
    name = _name(request.args.get("state", ""))
    value = request.cookies.get(name, "")
    try:
        away = msgspec.convert(services().box.open(value.encode("utf-8", "replace")), Away)
    except (SecretUnreadable, msgspec.ValidationError):
        return None
    return Back(away, name, hashlib.sha256(value.encode()).digest()) if away.until > time.time() else None


def _name(state: str) -> str:
    return _PREFIX + hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:16]
