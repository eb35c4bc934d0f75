"""The operator API: what is read across tenants, each access written to the audit log before anything is read.

A module with a ``blueprint`` joins :data:`PARTS`; what only operator_admin may see calls
``demand_role([Role.OPERATOR_ADMIN])`` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, request

from pulse_core.principal import Role
from pulse_server.web.operator import ledger
from pulse_server.web.principal import demand_role
from pulse_server.web.services import services

if TYPE_CHECKING:
    from types import ModuleType

blueprint = Blueprint("operator", __name__, url_prefix="/operator")

_QUERY_KEPT = 1000

PARTS: tuple[ModuleType, ...] = (ledger,)


@blueprint.before_request
async def demand_operator() -> None:
    """Let only operators in, and only what the audit log knows of: without its line nothing is shown."""
    caller = await demand_role([Role.OPERATOR, Role.OPERATOR_ADMIN])
    asked = request.query_string.decode("latin-1")[:_QUERY_KEPT]
    await services().audit.note(caller.subject, "operator.access", f"{request.method} {request.path}", {"query": asked})


for part in PARTS:
    blueprint.register_blueprint(part.blueprint)
