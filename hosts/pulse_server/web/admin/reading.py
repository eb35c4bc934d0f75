"""What programs read with the admin key: a device's telemetry, alerts, deliveries with their attempts."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs import AlertQuery, DeliveryQuery, TelemetryQuery
from pulse_server.outputs.alerts import AlertList
from pulse_server.outputs.deliveries import DeliveryList
from pulse_server.outputs.series import Telemetry
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply
from pulse_server.web.series import answer_across_tenants
from pulse_server.web.services import services

blueprint = Blueprint("reading", __name__)


@blueprint.get("/devices/<tenant_id>/<device_id>/telemetry")
@described(Telemetry, query=TelemetryQuery)
async def telemetry(tenant_id: str, device_id: str) -> Response:
    """Readings of one device, newest first, in [start, end); or its metrics in buckets."""
    return await answer_across_tenants(tenant_id, device_id)


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
