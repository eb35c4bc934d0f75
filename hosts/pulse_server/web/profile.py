"""``/profile``: who one is here, one's own password, and how pages look. For everybody who has logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import Blueprint, Response

from pulse_core.errors import PermanentFailure
from pulse_core.principal import Role
from pulse_server.inputs import PasswordBody
from pulse_server.sessions.asking import changes_passwords
from pulse_server.web import after, theme
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_readable, wrong
from pulse_server.web.demands import demands
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf, session
from pulse_server.web.entrance.auth import give_oneself
from pulse_server.web.entrance.principal import principal
from pulse_server.web.forms import Form
from pulse_server.web.services import services
from pulse_server.web.views import view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_server.web.forms import Fault

blueprint = Blueprint("profile", __name__, url_prefix="/profile")

_FORM: Final = Form.of(
    PasswordBody,
    {
        "current": {"title": "Current password", "description": "The one that you logged in with."},
        "new": {
            "title": "New password",
            "description": "At least 12 characters: a few words that only you put together.",
        },
    },
)


@blueprint.before_request
@demands(*Role)
async def demand_somebody() -> None:
    """Let in whoever has a role, whichever it is."""


@blueprint.get("")
@page
async def show() -> Response:
    """Who one is, and what one may change of that."""
    return await _shown()


@blueprint.post("/password")
@page
async def change_password() -> Response:
    """Give oneself another password; this session goes on, every other of one's own ends."""
    taken = _FORM.take(await csrf.form())
    try:
        wanted = parse_as(PasswordBody, json_of(taken.value))
        demand_readable(taken.faults)
        await give_oneself(principal(), wanted)
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults, {PermanentFailure: "new"})
        return await _shown(status, faults)
    return after.to("/profile", "password")


@blueprint.post("/theme")
@page
async def choose_theme() -> Response:
    """Choose how pages look in this browser."""
    response = after.to("/profile", "theme")
    theme.choose(response, (await csrf.form()).get("theme", ""))
    return response


async def _shown(status: int = 200, faults: Iterable[Fault] = ()) -> Response:
    held = await session.current()
    provider = services().providers.named(held.provider) if held is not None else None
    shown = _FORM.show(faults=faults)
    shown.root.children[0].attrs["autocomplete"] = "current-password"
    return await view(
        "profile.html",
        status,
        shown=shown,
        gives_password=provider is not None and changes_passwords(provider),
        themes=theme.THEMES,
    )
