"""The operator API: what is read across tenants, each access written to the audit log before anything is read.

A module with a ``blueprint`` joins :data:`PARTS`; what only operator_admin may see calls
:func:`~pulse_server.web.operator.admins.demand_admin` before each of its requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quart import Blueprint, request

from pulse_core.principal import Role
from pulse_server.inputs import SMALL_ID
from pulse_server.web.operator import audit_log, events, fleet, ledger, plugins, quarantine, settings, tenants
from pulse_server.web.principal import demand_role
from pulse_server.web.services import services

if TYPE_CHECKING:
    from types import ModuleType

blueprint = Blueprint("operator", __name__, url_prefix="/operator")

_QUERY_KEPT = 1000

PARTS: tuple[ModuleType, ...] = (ledger, fleet, quarantine, plugins, audit_log, settings, tenants, events)


@blueprint.before_request
async def demand_operator() -> None:
    """Let only operators in, and only what the audit log knows of: without its line nothing is shown."""
    caller = await demand_role([Role.OPERATOR, Role.OPERATOR_ADMIN])
    asked = request.query_string.decode("latin-1")[:_QUERY_KEPT]
    await services().audit.note(
        caller.subject,
        "operator.access",
        f"{request.method} {request.path}",
        {"query": asked},
        tenant_id=_tenant_asked_for(),
    )


def _tenant_asked_for() -> str:
    """The one tenant that the request names; '' when it is about several."""
    named = (request.view_args or {}).get("tenant_id") or request.args.get("tenant_id", "")
    return named if re.fullmatch(SMALL_ID, named) else ""


for part in PARTS:
    blueprint.register_blueprint(part.blueprint)
