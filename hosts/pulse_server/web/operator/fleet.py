"""``/operator``: how everything is doing, across tenants or of one: devices, alerts, deliveries, integrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.api import DeviceKey
from pulse_server.configured import shown
from pulse_server.inputs import AlertQuery, DeliveryQuery, DevicePage, DeviceQuery, IntegrationQuery
from pulse_server.outputs.alerts import AlertList
from pulse_server.outputs.deliveries import DeliveryList
from pulse_server.outputs.devices import DeviceDetailForOperators, DeviceList
from pulse_server.outputs.integrations import HealthyIntegrationList
from pulse_server.web import pages, readings
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.metrics import explained, said_of
from pulse_server.web.replies import demand_ids, demand_tenant_id, parts_of
from pulse_server.web.services import services
from pulse_server.web.unread import spared
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_core.api import StoredReading

blueprint = Blueprint("fleet", __name__)

_ALERTS_SHOWN, _READINGS_SHOWN = 50, 50


@blueprint.get("/devices")
@described(DeviceList, query=DeviceQuery)
async def devices() -> Response:
    """Devices by tenant and id, with how each is doing."""
    asked = query_as(DeviceQuery, blank=pages.wanted())
    found = await services().overview.devices(**asked.model_dump())
    return await either("operator/devices.html", parts_of(found))


@blueprint.get("/tenants/<tenant_id>/devices")
@described(DeviceList, query=DevicePage)
async def devices_of_tenant(tenant_id: str) -> Response:
    """The devices of one tenant."""
    demand_tenant_id(tenant_id)
    asked = query_as(DevicePage, blank=pages.wanted())
    tenant = await services().tenants.get(tenant_id)
    found = await services().overview.devices(tenant_id=tenant_id, **asked.model_dump())

    async def whose() -> dict[str, Any]:
        return {"tenant": tenant}

    return await either("operator/devices.html", parts_of(found), besides=whose)


@blueprint.get("/tenants/<tenant_id>/devices/<device_id>")
@described(DeviceDetailForOperators)
async def one_device(tenant_id: str, device_id: str) -> Response:
    """One device with its latest values, its newest readings and its alerts that are not closed."""
    demand_ids(tenant_id, device_id)
    overview = services().overview
    device = await overview.device(tenant_id, device_id)
    newest: list[StoredReading] = []
    async with spared() as unread:
        with services().telemetry_of_all() as store:
            newest = await readings.newest_readings(store, DeviceKey(tenant_id, device_id), _READINGS_SHOWN)
    latest = readings.latest_values(newest)
    said = await said_of(services().metrics, tenant_id, latest)
    alerts = await overview.alerts(tenant_id=tenant_id, device_id=device_id, live=True, limit=_ALERTS_SHOWN)

    async def told() -> dict[str, Any]:
        return {"unread": unread.away}

    return await either(
        "operator/device.html",
        {
            **device,
            "latest": explained(latest, said),
            "telemetry": [readings.shown(each) for each in newest],
            "open_alerts": alerts.items,
        },
        besides=told,
    )


@blueprint.get("/alerts")
@described(AlertList, query=AlertQuery)
async def alerts() -> Response:
    """Alerts, newest first."""
    asked = query_as(AlertQuery, blank=pages.wanted())
    found = await services().overview.alerts(**asked.model_dump())
    return await either("operator/alerts.html", parts_of(found))


@blueprint.get("/deliveries")
@described(DeliveryList, query=DeliveryQuery)
async def deliveries() -> Response:
    """Deliveries, newest first, each with its attempts."""
    asked = query_as(DeliveryQuery, blank=pages.wanted())
    found = await services().overview.deliveries(**asked.model_dump())
    return await either("operator/deliveries.html", parts_of(found))


@blueprint.get("/integrations")
@described(HealthyIntegrationList, query=IntegrationQuery)
async def integrations() -> Response:
    """Integrations with their health and breakers; secrets are masked."""
    asked = query_as(IntegrationQuery, blank=pages.wanted())
    overview = services().overview
    page = await overview.integrations(type_=asked.type, **asked.model_dump(exclude={"type"}))
    health = await overview.health(page.items)
    plugins = services().plugins
    items = [
        {**shown(plugins, each), "health": health[each["tenant_id"], each["integration_id"]]} for each in page.items
    ]
    return await either("operator/integrations.html", {"items": items, "next": page.next}, besides=_kinds)


async def _kinds() -> dict[str, Any]:
    """Every kind that an integration can be of."""
    return {"kinds": sorted(services().plugins.channels)}
