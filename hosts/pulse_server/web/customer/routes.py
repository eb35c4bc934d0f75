"""``/customer/integration-routes``: which alerts go to which integration."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, ConfigDict
from quart import Blueprint, Response

from pulse_core.clock import SystemClock
from pulse_core.records import AlertEvent
from pulse_core.routing import decide
from pulse_postgres.integration_pages import shown_route
from pulse_postgres.route_preview import recent_changes
from pulse_server.inputs import Page, RouteFields
from pulse_server.outputs.previews import RoutePreview
from pulse_server.routing_input import route_of
from pulse_server.web.bodies import body_as, parse_as, query_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply, reply

if TYPE_CHECKING:
    import uuid

    from pulse_core.records import AlertChange

blueprint = Blueprint("customer_routes", __name__, url_prefix="/integration-routes")

PREVIEW_DAYS = 7
_PREVIEW_US = PREVIEW_DAYS * 24 * 3600 * 1_000_000
_PREVIEWED = 10_000
_NEWEST = 5


class _Changes(BaseModel):
    """Any fields of a route: merged with the route that is there, and checked as a whole."""

    model_config = ConfigDict(frozen=True, extra="allow")


@blueprint.get("")
async def show() -> Response:
    """The tenant's routes."""
    asked, mine = query_as(Page), own()
    return page_reply(await mine.integrations.route_page(mine.tenant_id, limit=asked.limit, cursor=asked.cursor))


@blueprint.post("")
async def create() -> Response:
    """Make a route; 404 when the tenant has no such integration."""
    wanted, mine = await body_as(RouteFields), own()
    made = await mine.integrations.create_route(route_of(wanted, mine.tenant_id), actor=mine.actor)
    return reply(shown_route(made), 201)


@blueprint.post("/preview")
@described(RoutePreview, body=RouteFields)
async def preview() -> Response:
    """What a route would have sent in the last seven days. Saves nothing, and asks of no integration."""
    wanted, mine = await body_as(RouteFields), own()
    until_us = SystemClock().now_us()
    route = msgspec.structs.replace(route_of(wanted, mine.tenant_id), integration_enabled=True)
    found = await recent_changes(mine.pool, mine.tenant_id, until_us - _PREVIEW_US, _PREVIEWED + 1)
    looked = found[:_PREVIEWED]
    would = [change for change in looked if decide(route, change).matched]
    return reply(
        {
            "days": PREVIEW_DAYS,
            "notifications": len(would),
            "by_event": {event: sum(change.event is event for change in would) for event in AlertEvent},
            "changes": len(looked),
            "complete": len(found) <= _PREVIEWED,
            "newest": [_previewed(change) for change in would[:_NEWEST]],
        }
    )


@blueprint.get("/<uuid:route_id>")
async def one(route_id: uuid.UUID) -> Response:
    """One route."""
    mine = own()
    return reply(shown_route(await mine.integrations.get_route(mine.tenant_id, route_id)))


@blueprint.patch("/<uuid:route_id>")
async def change(route_id: uuid.UUID) -> Response:
    """Change the fields that are given."""
    changes, mine = await body_as(_Changes), own()
    kept = shown_route(await mine.integrations.get_route(mine.tenant_id, route_id))
    whole = {**_fields(kept), **(changes.model_extra or {})}
    wanted = parse_as(RouteFields, msgspec.json.encode(whole))
    changed = await mine.integrations.update_route(route_of(wanted, mine.tenant_id, route_id), actor=mine.actor)
    return reply(shown_route(changed))


@blueprint.delete("/<uuid:route_id>")
async def remove(route_id: uuid.UUID) -> Response:
    """Delete a route."""
    mine = own()
    await mine.integrations.delete_route(mine.tenant_id, route_id, actor=mine.actor)
    return Response(status=204)


def _previewed(change: AlertChange) -> dict[str, Any]:
    return {
        "alert_id": change.alert.alert_id,
        "device_id": change.device.device_id,
        "site_id": change.alert.site_id,
        "alert_type": change.alert.alert_type,
        "severity": int(change.alert.severity),
        "event": change.event,
        "summary": change.alert.summary,
        "changed_at": dt.datetime.fromtimestamp(change.at_us / 1e6, dt.UTC),
    }


def _fields(route: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in route.items() if name in RouteFields.model_fields}
