"""Who looks across tenants is written down first: the line is committed before anything is read, or nothing is."""

from __future__ import annotations

import re

from quart import request

from pulse_server.inputs import SMALL_ID
from pulse_server.web.around.requests import printable
from pulse_server.web.services import services

_KEPT = 1000


async def note_access(actor: str, action: str) -> None:
    """Append the line of the current request to the audit log.

    :param action: as ``operator.access``.
    :raises StoreUnavailable: it is not certain that the line is there, so nothing may be shown.
    """
    asked = request.query_string.decode("latin-1")[:_KEPT]
    resource = f"{request.method} {printable(request.path)[:_KEPT]}"
    await services().audit.note(actor, action, resource, {"query": asked}, tenant_id=_tenant_asked_for())


def _tenant_asked_for() -> str:
    """The one tenant that the request names; '' when it is about several."""
    named = (request.view_args or {}).get("tenant_id") or request.args.get("tenant_id", "")
    return named if re.fullmatch(SMALL_ID, named) else ""
