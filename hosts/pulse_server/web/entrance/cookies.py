"""The cookies that we give to browsers: for this host alone, over TLS or to this machine, out of reach of scripts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from quart_auth import Action, QuartAuth

if TYPE_CHECKING:
    from quart import Quart, Response

    from pulse_core.secrets import SecretBox

PREFIX: Final = "__Host-pulse"
"""``__Host-``: a browser takes it with Secure, Path=/ and no Domain only, so no other host can have set it."""


class SessionCookie(QuartAuth):
    """Holds the id of a session, signed, and nothing else."""

    async def after_request(self, response: Response) -> Response:
        """Set or delete it, where a route said so."""
        if self.load_user().action is Action.PASS:
            return response
        with warnings.catch_warnings():
            # TLS ends at a proxy before us, and on loopback browsers take it all the same.
            warnings.filterwarnings("ignore", message="Secure cookies will be ignored")
            return await super().after_request(response)


def install(app: Quart, box: SecretBox, longest_s: float) -> None:
    """Sign with a key that comes from the current secret key; what previous ones signed is read, too."""
    current, *previous = (key.hex() for key in box.keys_for("session cookies"))
    app.secret_key = current
    app.config["SECRET_KEY_FALLBACKS"] = previous[::-1]  # the newest last
    SessionCookie(app, cookie_name=PREFIX, salt="pulse session", duration=int(longest_s))


def give(response: Response, name: str, value: str, lasts_s: int) -> None:
    """Set another cookie, as strict as that one."""
    response.set_cookie(name, value, max_age=lasts_s, path="/", secure=True, httponly=True, samesite="Lax")


def take_back(response: Response, name: str) -> None:
    """Delete a cookie."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")
