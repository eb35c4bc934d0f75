"""Who may call an operation, and how they say who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_server.web.entrance.cookies import PREFIX
from pulse_server.web.entrance.csrf import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pulse_core.principal import Role
    from pulse_server.web.demands import Demand

SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, or an access token that a login gave.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": PREFIX,
        "description": "What a browser got at ``/login``.",
    },
    "sessionToken": {
        "type": "apiKey",
        "in": "header",
        "name": HEADER,
        "description": "``session.csrf_token`` of ``GET /api/auth/status``: beside the cookie, to change anything.",
    },
    "adminKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Admin-Key",
        "description": "The key of whoever provisions devices, from the platform's configuration.",
    },
    "deviceToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Provision-Token",
        "description": "A device's own token.",
    },
}


def roles_of(demands: Iterable[Demand], method: str) -> tuple[Role, ...]:
    """Who meets every demand."""
    found: tuple[Role, ...] | None = None
    for demand in demands:
        if not demand.admin_key:
            wanted = demand.roles(method)
            found = wanted if found is None else tuple(role for role in found if role in wanted)
    return found or ()


def of_operation(method: str, roles: Sequence[Role], *, key: bool) -> dict[str, Any]:
    """What the document says of it."""
    if key:
        return {"security": [{"adminKey": []}]}
    if roles:
        session = ["session"] if method == "GET" else ["session", "sessionToken"]
        return {"security": [{"bearer": []}, {name: [] for name in session}], "x-roles": list(map(str, roles))}
    return {"security": []}


def in_words(roles: Sequence[Role], *, key: bool) -> str:
    """The same for people."""
    if key:
        return "For whoever holds the admin key."
    return f"For {', '.join(f'`{role}`' for role in roles)}." if roles else "For everybody."
