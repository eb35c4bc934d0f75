"""``/customer/events``: what changes in the caller's tenant, as it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response, g, request

from pulse_core.notices import Kind
from pulse_server.outputs.answers import EventStream
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.events import EventQuery, stream_of
from pulse_server.web.services import services

if TYPE_CHECKING:
    from pulse_core.principal import Principal

blueprint = Blueprint("customer_events", __name__)

_CHANGED_BELOW = {
    "alerts": (Kind.ALERTS, Kind.DELIVERIES),
    "deliveries": (Kind.DELIVERIES,),
    "devices": (Kind.DEVICES,),
    "metrics": (Kind.DEVICES,),
    "integrations": (Kind.INTEGRATIONS, Kind.ROUTES, Kind.DELIVERIES),
    "integration-routes": (Kind.ROUTES,),
}
"""What a write below a path may have changed."""
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ERRORS = 400


@blueprint.get("/events")
@described(EventStream, query=EventQuery)
async def show() -> Response:
    """Server-sent events: which devices, alerts, deliveries, integrations and routes have changed. Ids, no data."""
    asked = query_as(EventQuery)
    return await stream_of(principal().tenant_id, asked.lasts_s)


async def tell(response: Response) -> Response:
    """After each request: what it has changed is told to whoever looks on."""
    caller: Principal | None = g.get("principal")
    tenant_id = caller.tenant_id if caller is not None else None
    if tenant_id is not None and request.method in _WRITING and response.status_code < _ERRORS:
        _, _, below = request.path.partition("/customer/")
        for kind in _CHANGED_BELOW.get(below.partition("/")[0], ()):
            services().board.note(tenant_id, kind, None)
    return response
