"""The admin API: provisioning, and what programs may read, behind X-Admin-Key."""

from __future__ import annotations

import hmac

from quart import Blueprint, request

from pulse_server.web.actor import ADMIN
from pulse_server.web.admin import devices, integrations, reading, tenants
from pulse_server.web.around.limits import guesses
from pulse_server.web.bodies import Problem
from pulse_server.web.demands import demands_admin_key
from pulse_server.web.services import services
from pulse_server.web.watching import note_access

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")


@blueprint.before_request
@demands_admin_key
async def demand_key() -> None:
    """Let only the holder of the admin key in, and only what the audit log knows of; before anything is looked at."""
    given = request.headers.get("X-Admin-Key", "")
    if not given or not await guesses().judge(request.remote_addr or "", given, _is_key):
        raise Problem(401, "this needs the admin key in X-Admin-Key", headers={"WWW-Authenticate": "X-Admin-Key"})
    await note_access(ADMIN, "admin.access")


async def _is_key(given: str) -> bool | None:
    wanted = services().config.effective_admin_key
    fits = wanted is not None and hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode("utf-8"))
    return fits or None


for part in (tenants, devices, integrations, reading):
    blueprint.register_blueprint(part.blueprint)
