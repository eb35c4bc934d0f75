"""Everybody who may call the web application, and everybody who may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.principal import Role
from support.admin import KEY, Admin, Caller
from support.batches import judged
from support.browsing import by_cookie
from support.rights import BY_COOKIE, OURS

if TYPE_CHECKING:
    from support.database import Database


async def everyone(admin: Admin, database: Database) -> dict[str, Caller]:
    """A caller for each role and each way of having none; named as in :data:`~support.rights.RIGHTS`."""
    callers = {str(role): await admin.customer(OURS, role) for role in (Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN)}
    callers |= {str(role): await admin.operator(role) for role in (Role.OPERATOR, Role.OPERATOR_ADMIN)}
    for death, statement in _DEATHS.items():
        for role in (Role.CUSTOMER_ADMIN, Role.OPERATOR_ADMIN):
            made = await (admin.customer(OURS, role) if role.of_a_tenant else admin.operator(role))
            callers[f"{death} {role}"] = made
            judged(database, f"{statement} WHERE created_at = (SELECT max(created_at) FROM api_tokens) RETURNING true")
    callers |= await _at_browsers(admin, database)
    return callers | {
        "admin key": _with(admin, {"X-Admin-Key": KEY}),
        "another key": _with(admin, {"X-Admin-Key": f"{KEY}x"}),
        "nobody": _with(admin, {}),
        "garbage": _with(admin, {"Authorization": "Bearer pulse_" + "A" * 43}),
    }


async def _at_browsers(admin: Admin, database: Database) -> dict[str, Caller]:
    """The same with sessions; nothing was asked with any of them yet, so that no process believes it to hold."""
    app = admin.client.app
    callers = {f"{role}{BY_COOKIE}": await by_cookie(app, database, f"{role}", role, OURS) for role in Role}
    for death, statement in _ENDS.items():
        for role in (Role.CUSTOMER_ADMIN, Role.OPERATOR_ADMIN):
            name = f"{death}-{role}"
            callers[f"{death} {role}{BY_COOKIE}"] = await by_cookie(app, database, name, role, OURS)
            judged(database, f"UPDATE browser_sessions SET {statement} WHERE subject = 'user:{name}' RETURNING true")
    return callers


_ENDS = {
    "ended": "ended_at = now(), tokens = NULL",
    "expired": "expires_at = now()",
    "idle": "seen_at = now() - interval '12 hours'",
}
_DEATHS = {
    "expired": "UPDATE api_tokens SET expires_at = now()",
    "revoked": "UPDATE api_tokens SET revoked_at = now()",
}


def _with(admin: Admin, headers: dict[str, str]) -> Caller:
    return Caller(admin.client, "", headers)
