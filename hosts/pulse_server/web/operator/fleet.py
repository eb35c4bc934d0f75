"""``/operator``: how everything is doing, across tenants or of one: devices, alerts, deliveries, integrations."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_core.api import DeviceKey
from pulse_postgres.counts import REJECTED_OVER_MIN
from pulse_server.configured import shown
from pulse_server.inputs import AlertQuery, DeliveryQuery, DevicePage, DeviceQuery, IntegrationQuery
from pulse_server.outputs.alerts import AlertList
from pulse_server.outputs.dashboards import OperatorDashboard
from pulse_server.outputs.deliveries import DeliveryList
from pulse_server.outputs.devices import DeviceDetailForOperators, DeviceList
from pulse_server.outputs.integrations import HealthyIntegrationList
from pulse_server.web import readings
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.replies import demand_ids, demand_tenant_id, page_reply, reply
from pulse_server.web.services import services

blueprint = Blueprint("fleet", __name__)

_ALERTS_SHOWN, _READINGS_SHOWN = 50, 50


@blueprint.get("/dashboard")
@described(OperatorDashboard)
async def dashboard() -> Response:
    """Counts: tenants and devices by status, open alerts by severity, deliveries by status, refusals by reason."""
    overview = services().overview
    tenants = await overview.tenants_by_status()
    return reply({"tenants": tenants, **await overview.counts(), "rejected_over_min": REJECTED_OVER_MIN})


@blueprint.get("/devices")
@described(DeviceList, query=DeviceQuery)
async def devices() -> Response:
    """Devices by tenant and id, with how each is doing."""
    asked = query_as(DeviceQuery)
    return page_reply(await services().overview.devices(**asked.model_dump()))


@blueprint.get("/tenants/<tenant_id>/devices")
@described(DeviceList, query=DevicePage)
async def devices_of_tenant(tenant_id: str) -> Response:
    """The devices of one tenant."""
    demand_tenant_id(tenant_id)
    asked = query_as(DevicePage)
    await services().tenants.get(tenant_id)
    return page_reply(await services().overview.devices(tenant_id=tenant_id, **asked.model_dump()))


@blueprint.get("/tenants/<tenant_id>/devices/<device_id>")
@described(DeviceDetailForOperators)
async def one_device(tenant_id: str, device_id: str) -> Response:
    """One device with its latest values, its newest readings and its alerts that are not closed."""
    demand_ids(tenant_id, device_id)
    overview = services().overview
    device = await overview.device(tenant_id, device_id)
    newest = await readings.newest_readings(services().telemetry, DeviceKey(tenant_id, device_id), _READINGS_SHOWN)
    alerts = await overview.alerts(tenant_id=tenant_id, device_id=device_id, live=True, limit=_ALERTS_SHOWN)
    return reply(
        {
            **device,
            "latest": readings.latest_values(newest),
            "telemetry": [readings.shown(each) for each in newest],
            "open_alerts": alerts.items,
        }
    )


@blueprint.get("/alerts")
@described(AlertList, query=AlertQuery)
async def alerts() -> Response:
    """Alerts, newest first."""
    asked = query_as(AlertQuery)
    return page_reply(await services().overview.alerts(**asked.model_dump()))


@blueprint.get("/deliveries")
@described(DeliveryList, query=DeliveryQuery)
async def deliveries() -> Response:
    """Deliveries, newest first, each with its attempts."""
    asked = query_as(DeliveryQuery)
    return page_reply(await services().overview.deliveries(**asked.model_dump()))


@blueprint.get("/integrations")
@described(HealthyIntegrationList, query=IntegrationQuery)
async def integrations() -> Response:
    """Integrations with their health and breakers; secrets are masked."""
    asked = query_as(IntegrationQuery)
    overview = services().overview
    page = await overview.integrations(type_=asked.type, **asked.model_dump(exclude={"type"}))
    health = await overview.health(page.items)
    items = [{**shown(services().plugins, each), "health": health[each["integration_id"]]} for each in page.items]
    return reply({"items": items, "next": page.next})
