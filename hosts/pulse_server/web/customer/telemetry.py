"""``/customer/telemetry/query``: readings of several devices, or their numbers by device, site or label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint

from pulse_server.inputs.telemetry import AcrossQuery
from pulse_server.outputs.telemetry import TelemetryAcross
from pulse_server.web.across import across_answer
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.services import services

if TYPE_CHECKING:
    from quart import Response

blueprint = Blueprint("customer_telemetry", __name__, url_prefix="/telemetry")


@blueprint.get("/query")
@described(TelemetryAcross, query=AcrossQuery)
async def query() -> Response:
    """Readings of several devices, by device and time, in [from, to); or their numbers in buckets. As JSON or CSV."""
    mine, asked = own(), query_as(AcrossQuery)
    async with services().telemetry_of(mine.tenant_id) as store:
        return await across_answer(store, mine.pool, mine.tenant_id, asked)
