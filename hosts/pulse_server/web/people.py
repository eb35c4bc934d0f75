"""What customers' and operators' pages of users and tokens have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quart import current_app

from pulse_core.errors import TooMany
from pulse_postgres.identity.user_requests import UserChanges
from pulse_server.throttle import Throttle
from pulse_server.web.bodies import Problem
from pulse_server.web.conditions import versioned
from pulse_server.web.entrance.principal import principal
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from quart import Response

    from pulse_core.principal import Role
    from pulse_postgres.identity.user_requests import UserRequests
    from pulse_server.inputs import CustomerUserBody, CustomerUserPatch, NewUserBody, UserPatch


def demand_person() -> None:
    """Let people go on, not programs: what a token began would outlive the end of the token.

    :raises Problem: 403.
    """
    if principal().by_token:
        raise Problem(403, "API tokens are minted by people: log in with a password")


def charge_name_try() -> None:
    """Names are given once in an installation, so a refusal tells that somebody has one: bounded for each caller.

    :raises TooMany: 30 at once, then one every two seconds.
    """
    tries: Throttle = current_app.extensions.setdefault("name_tries", Throttle(per_minute=30, burst=30))
    caller = principal()
    wait_s = tries.wait_s(f"names of {caller.tenant_id or caller.subject}", time.monotonic())
    if wait_s:
        raise TooMany("too many new users at once", retry_after_s=wait_s)


@dataclass(frozen=True)
class Made:
    """A user who was made or changed, and the password that was made up for them, if one was."""

    user: dict[str, Any]
    initial_password: str | None = None

    def reply(self, status: int = 200) -> Response:
        """Answer a program; this once with the password."""
        return versioned(self.user, status, living=True, once={"initial_password": self.initial_password})


def gives_passwords() -> bool:
    """Whether users have passwords here; otherwise people log in elsewhere."""
    return "accounts" in services().config.plugins.enabled


async def added(users: UserRequests, tenant_id: str, wanted: CustomerUserBody | NewUserBody, actor: str) -> Made:
    """Make a user."""
    charge_name_try()
    password = await services().new_passwords.make(wanted.username, wanted.password)
    role: Role = wanted.role
    made = await users.add(tenant_id, wanted.username, role, password.hashed, email=wanted.email, actor=actor)
    return Made(made, password.initial)


async def changed(
    users: UserRequests,
    before: Mapping[str, Any],
    wanted: CustomerUserPatch | UserPatch,
    actor: str,
    *,
    may_be_last: bool = False,
    only_if: Collection[str] | None = None,
) -> Made:
    """Change a user."""
    password = None
    if wanted.reset_password or wanted.password is not None:
        password = await services().new_passwords.make(before["username"], wanted.password)
    changes = UserChanges(
        role=wanted.role,
        email=wanted.email,
        disabled=wanted.disabled,
        password_hash=password.hashed if password else None,
    )
    after = await users.change(
        before["tenant_id"], before["user_id"], changes, actor=actor, may_be_last=may_be_last, only_if=only_if
    )
    return Made(after, password.initial if password else None)
