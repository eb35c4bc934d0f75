"""``/api/auth``: tokens for a name and password, the next ones, the end of a session, and who am I."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from quart import Blueprint, Response, current_app, request

from pulse_core.errors import TooMany
from pulse_server.inputs import LoginBody, PasswordBody, RefreshBody
from pulse_server.outputs.identity import IssuerMetadata, KeySet, Refreshed, TokenPair, WhoAmI
from pulse_server.throttle import Throttle
from pulse_server.web.bodies import Problem, body_as
from pulse_server.web.described import described
from pulse_server.web.entrance import csrf, session
from pulse_server.web.entrance.principal import authenticate
from pulse_server.web.replies import reply
from pulse_server.web.services import services

if TYPE_CHECKING:
    from pulse_core.identity import Tokens
    from pulse_core.principal import Principal
    from pulse_server.sessions.desk import Held

blueprint = Blueprint("auth", __name__)

_KEYS_KEPT_S = 10
"""Shorter than the time before a new key signs: whoever keeps the keys so long never meets one that is unknown."""


class Tries:
    """How often one address, and how often one name, may try a password or a refresh token.

    By name whoever tries, and whether somebody has it or not: a guesser with many addresses gets no further.
    """

    def __init__(self) -> None:
        self._by_address = Throttle(per_minute=20, burst=20)
        self._by_name = Throttle(per_minute=10, burst=10)

    def charge_address(self) -> None:
        """Raises TooMany."""
        _charge(self._by_address, request.remote_addr or "", "too many tries from this address")

    def charge_name(self, username: str) -> None:
        """Raises TooMany."""
        _charge(self._by_name, f"user {username.lower()}", "too many tries for this user")


def _charge(throttle: Throttle, key: str, complaint: str) -> None:
    wait_s = throttle.wait_s(key, time.monotonic())
    if wait_s:
        raise TooMany(complaint, retry_after_s=wait_s)


def tries() -> Tries:
    """Those of this process, whichever way somebody tries to log in."""
    found: Tries = current_app.extensions.setdefault("tries", Tries())
    return found


@blueprint.post("/api/auth/token")
@described(TokenPair, body=LoginBody, refuses=[401, 429])
async def token() -> Response:
    """Trade a name and password for an access token and a refresh token."""
    wanted = await body_as(LoginBody)
    tries().charge_address()
    tries().charge_name(wanted.username)
    tokens = await services().providers.log_in(wanted.username, wanted.password.get_secret_value())
    return _granted(tokens, "this name and password do not fit, or may not log in")


@blueprint.post("/api/auth/refresh")
@described(Refreshed, body=RefreshBody, body_optional=True, refuses=[401, 403, 429])
async def refresh() -> Response:
    """Trade a refresh token for the next pair; it is good for one time. A session is renewed without a body."""
    held = await session.current()
    if held is not None and not await request.get_data():
        tries().charge_address()
        return _renewed(await services().sessions.renew(held.cookie_id))
    wanted = await body_as(RefreshBody)
    tries().charge_address()
    tokens = await services().providers.refresh(wanted.refresh_token.get_secret_value())
    return _granted(tokens, "this refresh token is not valid: log in again")


@blueprint.post("/api/auth/logout")
@described(body=RefreshBody, status=204, refuses=[429])
async def logout() -> Response:
    """End the session of a refresh token, its access tokens too. An unknown one is answered alike."""
    wanted = await body_as(RefreshBody)
    tries().charge_address()
    await services().providers.log_out(wanted.refresh_token.get_secret_value())
    return Response(status=204)


@blueprint.get("/api/auth/status")
@described(WhoAmI, known=True)
async def status() -> Response:
    """Who the caller is; and, for a session, what a page's script needs of it."""
    return reply(_said_of(await authenticate(), await session.current()))


@blueprint.post("/api/auth/password")
@described(body=PasswordBody, status=204, known=True, refuses=[403, 429])
async def password() -> Response:
    """Give oneself another password; every other session of one's own ends within 5 s. 403 for API tokens."""
    caller = await authenticate()
    await give_oneself(caller, await body_as(PasswordBody))
    return Response(status=204)


@blueprint.get("/.well-known/jwks.json")
@described(KeySet)
async def jwks() -> Response:
    """The public keys with which anybody can check our tokens (RFC 7517)."""
    return _public({"keys": await services().providers.published_keys()})


@blueprint.get("/.well-known/oauth-authorization-server")
@described(IssuerMetadata)
async def metadata() -> Response:
    """Who issues tokens here, and where the keys are (RFC 8414)."""
    issuer = services().config.issuer
    return _public({"issuer": issuer, "jwks_uri": f"{issuer}/.well-known/jwks.json", "response_types_supported": []})


async def give_oneself(caller: Principal, wanted: PasswordBody) -> None:
    """Give the caller another password.

    :raises Problem: 403: a program has none; 422: the current one is another.
    :raises PermanentFailure: the new one is not good enough, or whoever let the caller in gives none.
    """
    if caller.by_token:
        raise Problem(403, "an API token has no password")
    tries().charge_address()
    tries().charge_name(caller.subject.removeprefix("user:"))
    current, new = wanted.current.get_secret_value(), wanted.new.get_secret_value()
    token, held = session.bearer(), await session.current()
    if held is not None:
        token = await services().sessions.access_token(held)
    if not await services().providers.change_password(token or "", current, new):
        wrong = [{"field": "current", "message": "this is not your password"}]
        raise Problem(422, "some fields are wrong", errors=wrong)


def _said_of(caller: Principal, held: Held | None) -> dict[str, object]:
    said: dict[str, object] = {
        "subject": caller.subject,
        "role": caller.role,
        "tenant_id": caller.tenant_id,
        "email": caller.email or None,
    }
    if held is None:
        return said
    token = csrf.of_session(held.cookie_id)
    return {**said, "session": {"csrf_token": token, "provider": held.provider, "expires_at": held.expires_at}}


def _renewed(held: Held | None) -> Response:
    if held is None:
        raise Problem(401, "this session is over: log in again")
    return reply(_said_of(held.principal, held))


def _granted(tokens: Tokens | None, refusal: str) -> Response:
    if tokens is None:
        raise Problem(401, refusal, headers={"WWW-Authenticate": 'Bearer realm="pulse"'})
    return reply(
        {
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token,
            "token_type": "Bearer",
            "expires_in": tokens.expires_in_s,
        }
    )


def _public(value: object) -> Response:
    response = reply(value)
    response.headers["Cache-Control"] = f"public, max-age={_KEYS_KEPT_S}"
    return response
