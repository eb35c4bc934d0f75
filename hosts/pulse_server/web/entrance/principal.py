"""Who asks, and whether their role suffices."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart import g, request

from pulse_postgres.identity.token_check import looks_like_token
from pulse_server.scopes import opens
from pulse_server.web.around.limits import guesses
from pulse_server.web.bodies import LoginNeeded, Problem
from pulse_server.web.entrance import session
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Collection

    from pulse_core.principal import Principal, Role


async def authenticate() -> Principal:
    """Who asks: by ``Authorization: Bearer``, an API token or one that a provider answers for; else by the session.

    Whatever is wrong with a token looks the same from outside: 401. The cookie of a session was looked at before: what
    changes something came with the session's token (see :mod:`pulse_server.web.entrance.csrf`).
    """
    token = session.bearer()
    if token is not None:
        checker = services().tokens if looks_like_token(token) else services().providers
        found = await guesses().judge(request.remote_addr or "", token, checker.principal)
    else:
        held = await session.current()
        found = held.principal if held is not None else None
    if found is None:
        wanted = {"WWW-Authenticate": 'Bearer realm="pulse"'}
        raise LoginNeeded(401, "this needs a valid token: Authorization: Bearer …", headers=wanted)
    return found


async def demand_role(roles: Collection[Role]) -> Principal:
    """Let only callers with one of ``roles`` go on. 401 for strangers, 403 for others.

    Who it is is remembered: a part that demands more than its whole need not look the token up again.
    """
    found = g.get("principal") or await authenticate()
    if found.role not in roles:
        raise Problem(403, f"this needs the role {' or '.join(roles)}; you have {found.role}")
    if not opens(found.scopes, request.url_rule.rule if request.url_rule else ""):
        raise Problem(403, f"this token opens only {', '.join(sorted(found.scopes or ()))}")
    g.principal = found
    return cast("Principal", found)


def principal() -> Principal:
    """Who makes the current request; its blueprint has demanded a role."""
    return cast("Principal", g.principal)
