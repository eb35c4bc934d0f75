"""Readings as operators see them, of one tenant at a time: of a device, and across devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint

from pulse_server.inputs import TelemetryQuery
from pulse_server.inputs.telemetry import OperatorAcrossQuery
from pulse_server.outputs.series import Telemetry
from pulse_server.outputs.telemetry import TelemetryAcross
from pulse_server.web.across import across_answer
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.series import answer_across_tenants
from pulse_server.web.services import services

if TYPE_CHECKING:
    from quart import Response

blueprint = Blueprint("operator_telemetry", __name__)


@blueprint.get("/tenants/<tenant_id>/devices/<device_id>/telemetry")
@described(Telemetry, query=TelemetryQuery)
async def of_device(tenant_id: str, device_id: str) -> Response:
    """Readings of one device, newest first, in [from, to); or its metrics in buckets. As JSON or CSV."""
    return await answer_across_tenants(tenant_id, device_id)


@blueprint.get("/telemetry/query")
@described(TelemetryAcross, query=OperatorAcrossQuery)
async def query() -> Response:
    """Readings of several devices of a tenant, in [from, to); or their numbers in buckets. As JSON or CSV."""
    asked = query_as(OperatorAcrossQuery)
    with services().telemetry_of_all() as store:
        return await across_answer(store, services().pools.operator, asked.tenant_id, asked)
