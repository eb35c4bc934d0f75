"""The customer API: what a tenant's people and programs see and change, of their own tenant alone."""

from __future__ import annotations

from quart import Blueprint, request

from pulse_core.principal import Role
from pulse_server.web.customer import (
    alerts,
    audit_log,
    channels,
    dashboard,
    deliveries,
    devices,
    events,
    integrations,
    replays,
    routes,
    trials,
)
from pulse_server.web.principal import demand_role

blueprint = Blueprint("customer", __name__, url_prefix="/customer")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@blueprint.before_request
async def demand_customer() -> None:
    """Let a tenant's own callers in: viewers to read, admins to write. Before anything else is looked at."""
    readers = [Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN]
    await demand_role(readers if request.method in _READING else [Role.CUSTOMER_ADMIN])


blueprint.after_request(events.tell)

for part in (
    dashboard,
    devices,
    audit_log,
    channels,
    integrations,
    trials,
    routes,
    alerts,
    deliveries,
    replays,
    events,
):
    blueprint.register_blueprint(part.blueprint)
