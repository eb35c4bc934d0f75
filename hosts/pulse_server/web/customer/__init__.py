"""The customer API: what a tenant's people and programs see and change, of their own tenant alone."""

from __future__ import annotations

from quart import Blueprint, request

from pulse_core.principal import Role
from pulse_server.web.customer import (
    alerts,
    api_tokens,
    audit_log,
    channels,
    dashboard,
    deliveries,
    devices,
    integrations,
    replays,
    routes,
    trials,
    users,
)
from pulse_server.web.principal import demand_role

blueprint = Blueprint("customer", __name__, url_prefix="/customer")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@blueprint.before_request
async def demand_customer() -> None:
    """Let a tenant's own callers in: viewers to read, admins to write. Before anything else is looked at."""
    readers = [Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN]
    await demand_role(readers if request.method in _READING else [Role.CUSTOMER_ADMIN])


_PARTS = (dashboard, devices, audit_log, channels, integrations, trials, routes, alerts, deliveries, replays)

for part in (*_PARTS, users, api_tokens):
    blueprint.register_blueprint(part.blueprint)
