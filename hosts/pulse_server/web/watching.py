"""Who looks across tenants is written down first: the line is committed before anything is read, or nothing is.

A page that updates by itself reads the same address every few seconds. What it reads again within a minute is covered
by the line of the first time; all else has a line of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quart import request

from pulse_postgres.audit import ORIGIN
from pulse_server.inputs import SMALL_ID
from pulse_server.web.around.requests import printable
from pulse_server.web.entrance import session
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Hashable

_KEPT = 1000


async def note_access(actor: str, action: str) -> None:
    """Append the line of the current request to the audit log, unless it is there already.

    :param action: as ``operator.access``.
    :raises StoreUnavailable: it is not certain that the line is there, so nothing may be shown.
    """
    asked = request.query_string.decode("latin-1")[:_KEPT]
    resource = f"{request.method} {printable(request.path)[:_KEPT]}"
    covered, look = services().covered, await _look(actor, action)
    if look is not None and _again() and covered.holds(look):
        return
    await services().audit.note(actor, action, resource, {"query": asked}, tenant_id=_tenant_asked_for())
    if look is not None:
        covered.add(look)


async def _look(actor: str, action: str) -> Hashable | None:
    """What is looked at, whole, by whom and from where; None: programs' and what changes something has its own line."""
    held = await session.current()
    if held is None or request.method != "GET":
        return None
    origin = ORIGIN.get()
    return actor, action, request.path, request.query_string, held.cookie_id, origin.address, origin.agent


def _again() -> bool:
    """Whether a page reads itself again, as htmx says, and nobody has gone there anew."""
    return request.headers.get("HX-Request") == "true"


def _tenant_asked_for() -> str:
    """The one tenant that the request names; '' when it is about several."""
    named = (request.view_args or {}).get("tenant_id") or request.args.get("tenant_id", "")
    return named if re.fullmatch(SMALL_ID, named) else ""
