"""How pages look: light, dark, or as the system does. A choice is kept in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import request

from pulse_server.web.entrance import cookies

if TYPE_CHECKING:
    from quart import Response

COOKIE: Final = f"{cookies.PREFIX}-theme"
THEMES: Final = ("system", "light", "dark")
_LASTS_S: Final = 400 * 86400
"""No browser keeps a cookie for longer."""


def chosen() -> str:
    """One of :data:`THEMES`."""
    named = request.cookies.get(COOKIE, "")
    return named if named in THEMES else "system"


def choose(response: Response, theme: str) -> None:
    """Keep a choice; what is no theme is the system's."""
    if theme in THEMES[1:]:
        cookies.give(response, COOKIE, theme, _LASTS_S)
    else:
        cookies.take_back(response, COOKIE)
