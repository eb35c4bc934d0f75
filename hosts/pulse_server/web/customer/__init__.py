"""The customer API: what a tenant's people and programs see and change, of their own tenant alone."""

from __future__ import annotations

from quart import Blueprint

from pulse_core.principal import Role
from pulse_server.web.customer import (
    alert_deeds,
    alerts,
    api_tokens,
    audit_log,
    channels,
    commands,
    connections,
    dashboard,
    deliveries,
    device_events,
    device_forms,
    device_keys,
    devices,
    events,
    export_forms,
    exports,
    integration_forms,
    integrations,
    metric_forms,
    metrics,
    replays,
    route_forms,
    route_previews,
    routes,
    settings,
    telemetry,
    trials,
    users,
)
from pulse_server.web.demands import demands

blueprint = Blueprint("customer", __name__, url_prefix="/customer")


@blueprint.before_request
@demands(Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN, writing=[Role.CUSTOMER_ADMIN])
async def demand_customer() -> None:
    """Let a tenant's own callers in: viewers to read, admins to write. Before anything else is looked at."""


blueprint.after_request(events.tell)

for part in (
    dashboard,
    devices,
    device_forms,
    device_keys,
    device_events,
    connections,
    commands,
    telemetry,
    exports,
    export_forms,
    metrics,
    metric_forms,
    audit_log,
    channels,
    integrations,
    integration_forms,
    trials,
    routes,
    route_previews,
    route_forms,
    alerts,
    alert_deeds,
    deliveries,
    replays,
    users,
    api_tokens,
    settings,
    events,
):
    blueprint.register_blueprint(part.blueprint)
