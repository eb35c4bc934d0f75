"""The operator API: what is read across tenants, each access written to the audit log before anything is read.

A module with a ``blueprint`` joins :data:`PARTS`; what only operator_admin may see calls
:func:`~pulse_server.web.operator.admins.demand_admin` before each of its requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint

from pulse_core.principal import Role
from pulse_server.web.demands import demands
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator import (
    api_tokens,
    audit_log,
    commands,
    dashboard,
    events,
    fleet,
    ledger,
    metrics,
    plugins,
    quarantine,
    settings,
    telemetry,
    tenant_forms,
    tenants,
    users,
)
from pulse_server.web.watching import note_access

if TYPE_CHECKING:
    from types import ModuleType

blueprint = Blueprint("operator", __name__, url_prefix="/operator")

PARTS: tuple[ModuleType, ...] = (
    ledger,
    dashboard,
    fleet,
    telemetry,
    metrics,
    commands,
    quarantine,
    plugins,
    audit_log,
    settings,
    tenants,
    tenant_forms,
    users,
    api_tokens,
    events,
)


@blueprint.before_request
@demands(Role.OPERATOR, Role.OPERATOR_ADMIN)
async def demand_operator() -> None:
    """Let only operators in, and only what the audit log knows of: without its line nothing is shown."""
    await note_access(principal().subject, "operator.access")


for part in PARTS:
    blueprint.register_blueprint(part.blueprint)
