"""``/login`` and ``/callback``: how a person's browser gets a session."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from quart import Blueprint, Response, request

from pulse_core.errors import Conflict, StoreUnavailable, TemporaryFailure, TooMany
from pulse_server.inputs import LoginBody
from pulse_server.sessions.asking import ask, knows_passwords, leads_away
from pulse_server.web import pages
from pulse_server.web.bodies import Problem
from pulse_server.web.described import page
from pulse_server.web.entrance import cookies, csrf, departures, session
from pulse_server.web.entrance.auth import tries
from pulse_server.web.entrance.local_paths import local_path
from pulse_server.web.services import services

if TYPE_CHECKING:
    from pulse_core.identity import AuthProvider, Tokens

blueprint = Blueprint("login", __name__)

_REFUSED: Final = "This name and password do not fit, or may not log in."
_AWAY: Final = "What is asked whether you may log in does not answer. Try again in a moment."
_NO_COOKIE: Final = (
    "This form has expired, or your browser keeps no cookie of ours. Try again. Over plain HTTP, only this machine "
    "itself can log in: elsewhere use https."
)
_NOT_BEGUN: Final = "this login was not begun in this browser, or took too long: begin again at /login"


@blueprint.get("/login")
@page
async def show() -> Response:
    """The page to log in on; ``?next=`` is the page that one then comes to."""
    notice = "You are logged out." if request.args.get("notice") == "logged-out" else ""
    return await _form(next=local_path(request.args.get("next")), notice=notice)


@blueprint.post("/login")
@page
async def log_in() -> Response:
    """Log in with a name and a password."""
    sent = await csrf.form()
    given = {"next": local_path(sent.get("next")), "username": sent.get("username", "")[:64]}
    csrf.demand_ours()
    if not csrf.LoginForm.fits(sent.get(csrf.FIELD, "")):
        return await _form(403, complaint=_NO_COOKIE, **given)
    try:
        wanted = LoginBody.model_validate({name: sent.get(name, "") for name in ("username", "password")})
    except ValidationError:
        return await _form(422, complaint="Fill in your name and your password.", **given)
    try:
        provider, tokens = await _checked(wanted)
    except TooMany as error:
        wait_s = math.ceil(error.retry_after_s or 1)
        response = await _form(429, complaint=f"Too many tries. Try again in {wait_s} s.", **given)
        response.headers["Retry-After"] = str(wait_s)
        return response
    admitted = await _admitted(provider, tokens, onward=given["next"])
    return admitted or await _form(401, complaint=_REFUSED, **given)


@blueprint.get("/login/<provider>")
@page
async def leave(provider: str) -> Response:
    """Go to log in elsewhere."""
    found = services().providers.named(provider)
    if found is None or not leads_away(found):
        raise Problem(404, "nobody logs in there")
    tries().charge_address()
    departure = await ask(found, found.begin(_callback_url()))
    if departure is None:
        raise Problem(404, "nobody logs in there")
    response = pages.to(departure.redirect_url)
    departures.note(response, found, departure, local_path(request.args.get("next")))
    return response


@blueprint.get("/callback")
@page
async def come_back() -> Response:
    """Come back from there."""
    if any(len(values) > 1 for _, values in request.args.lists()):
        raise Problem(400, _NOT_BEGUN)
    back = departures.back()
    provider = services().providers.named(back.away.provider) if back is not None else None
    if back is None or provider is None:
        raise Problem(400, _NOT_BEGUN)
    tries().charge_address()
    said = request.args.to_dict()
    tokens = await ask(provider, provider.complete(said, _callback_url(), back.away.secret_state))
    try:
        admitted = await _admitted(provider, tokens, onward=back.away.onward, departure_hash=back.mark)
    except Conflict:
        admitted = None
    complaint = "You did not log in there, or may not log in here."
    response = admitted or await _form(401, complaint=complaint, next=back.away.onward)
    cookies.take_back(response, back.cookie)
    return response


async def _checked(wanted: LoginBody) -> tuple[AuthProvider | None, Tokens | None]:
    """The tokens of a name and password, and their provider. Raises TooMany."""
    tries().charge_address()
    tries().charge_name(wanted.username)
    if "\0" in wanted.username:  # nobody is called so, and the database would not even look
        return None, None
    return await services().providers.admit(wanted.username, wanted.password.get_secret_value())


async def _admitted(
    provider: AuthProvider | None, tokens: Tokens | None, *, onward: str, departure_hash: bytes | None = None
) -> Response | None:
    """Send a browser with a session to its next page; None: the tokens are none. The session it had ends."""
    if provider is None or tokens is None:
        return None
    cookie_id = await services().sessions.begin(
        provider, tokens, brought=session.brought(), departure_hash=departure_hash
    )
    if cookie_id is None:
        return None
    session.hand_out(cookie_id)
    return pages.to(onward)


async def _form(status: int = 200, **values: Any) -> Response:
    """The page to log in on."""
    providers = services().providers.all
    guarded = csrf.LoginForm()
    response = await pages.page(
        "login.html",
        status,
        forms=True,
        csrf_token=guarded.token,
        with_password=any(map(knows_passwords, providers)),
        elsewhere=[(each.name, each.button) for each in providers if leads_away(each)],
        who=await _who(),
        **values,
    )
    guarded.bind(response)
    return response


async def _who() -> str | None:
    """Who this browser is logged in as already; not worth failing for."""
    try:
        held = await session.current()
    except StoreUnavailable:
        raise
    except TemporaryFailure:
        return None
    return pages.name_of(held.principal) if held is not None else None


def _callback_url() -> str:
    return f"{services().config.issuer}/callback"
