"""``/customer/devices/<id>/events``: what a device told of by itself (its messages of the type ``event``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_core.api import DeviceKey
from pulse_postgres.devices import one_device
from pulse_server.inputs import Page, TelemetryQuery
from pulse_server.outputs.devices import ReadingList
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.readings import readings_page
from pulse_server.web.replies import demand_ids
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_server.web.customer.own import Own

blueprint = Blueprint("customer_device_events", __name__, url_prefix="/devices")

NEWEST: Final = 10
"""So many stand on the device's own page."""


@blueprint.get("/<device_id>/events")
@described(ReadingList, query=Page)
async def of_device(device_id: str) -> Response:
    """The events of a device, newest first."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    asked = query_as(Page, blank=pages.wanted())
    device = await one_device(mine.pool, mine.tenant_id, device_id)

    async def of_what() -> dict[str, Any]:
        return {"device": device}

    found = await events_of(mine, device_id, asked)
    return await either("customer/device_events_all.html", found, besides=of_what)


async def events_of(mine: Own, device_id: str, asked: Page) -> dict[str, Any]:
    """A part of them."""
    events = TelemetryQuery(limit=asked.limit, cursor=asked.cursor, msg_type="event")
    async with services().telemetry_of(mine.tenant_id) as store:
        return await readings_page(store, DeviceKey(mine.tenant_id, device_id), events)
