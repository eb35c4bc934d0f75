"""``/operator/events``: what changes, across tenants or in one of them, as it changes."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.outputs.answers import EventStream
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.events import OperatorEventQuery, stream_of

blueprint = Blueprint("operator_events", __name__)


@blueprint.get("/events")
@described(EventStream, query=OperatorEventQuery)
async def show() -> Response:
    """Server-sent events: ids of what has changed, by tenant; with ``tenant_id``, as that tenant hears them."""
    asked = query_as(OperatorEventQuery)
    return await stream_of(asked.tenant_id, asked.lasts_s)
