"""``/customer/devices/<id>/connections``: when a device was connected, from where, and how that ended."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_postgres.device_connections import connection_page
from pulse_postgres.devices import one_device
from pulse_server.inputs import Page
from pulse_server.outputs.devices import DeviceConnectionList
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import demand_ids, parts_of
from pulse_server.web.views import either

blueprint = Blueprint("customer_connections", __name__, url_prefix="/devices")


@blueprint.get("/<device_id>/connections")
@described(DeviceConnectionList, query=Page)
async def of_device(device_id: str) -> Response:
    """The newest 100 connections of a device, newest first, as far as they are not older than its readings.

    Ways in whose connections do not last (HTTP) tell of none.
    """
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    asked = query_as(Page, blank=pages.wanted())
    device = await one_device(mine.pool, mine.tenant_id, device_id)
    found = await connection_page(mine.pool, mine.tenant_id, device_id, **asked.model_dump())

    async def of_what() -> dict[str, object]:
        return {"device": device}

    return await either("customer/device_history.html", parts_of(found), besides=of_what)
