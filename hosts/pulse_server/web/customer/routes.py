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
from pulse_server.inputs import RouteFields, RoutePage, RoutePatch
from pulse_server.outputs.integrations import Route, RouteList
from pulse_server.outputs.previews import RoutePreview
from pulse_server.routing_input import route_of
from pulse_server.web.bodies import body_as, parse_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply, reply

if TYPE_CHECKING:
    import uuid

    from pulse_core.records import AlertChange
    from pulse_core.records import Route as StoredRoute

blueprint = Blueprint("customer_routes", __name__, url_prefix="/integration-routes")

PREVIEW_DAYS = 7
_PREVIEW_US = PREVIEW_DAYS * 24 * 3600 * 1_000_000
_PREVIEWED = 10_000
_NEWEST = 5


class _Changes(BaseModel):
    """Any fields of a route: merged with the route that is there, and checked as a whole."""

    model_config = ConfigDict(frozen=True, extra="allow")


@blueprint.get("")
@described(RouteList, query=RoutePage)
async def show() -> Response:
    """The tenant's routes."""
    asked, mine = query_as(RoutePage), own()
    return page_reply(await mine.integrations.route_page(mine.tenant_id, **asked.model_dump()))


@blueprint.post("")
@described(Route, body=RouteFields, status=201)
async def create() -> Response:
    """Make a route; 404 when the tenant has no such integration."""
    wanted, mine = await body_as(RouteFields), own()
    made = await mine.integrations.create_route(route_of(wanted, mine.tenant_id), actor=mine.actor)
    return versioned(shown_route(made), 201)


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
@described(Route)
async def one(route_id: uuid.UUID) -> Response:
    """One route."""
    mine = own()
    return versioned(shown_route(await mine.integrations.get_route(mine.tenant_id, route_id)))


@blueprint.patch("/<uuid:route_id>")
@described(Route, body=RoutePatch)
async def change(route_id: uuid.UUID) -> Response:
    """Change the fields that are given."""
    only_if, changes, mine = wanted_revisions(), await body_as(_Changes), own()

    def merged(kept: StoredRoute) -> StoredRoute:
        whole = {**_fields(shown_route(kept)), **(changes.model_extra or {})}
        return route_of(parse_as(RouteFields, msgspec.json.encode(whole)), mine.tenant_id, route_id)

    changed = await mine.integrations.change_route(mine.tenant_id, route_id, merged, actor=mine.actor, only_if=only_if)
    return versioned(shown_route(changed))


@blueprint.delete("/<uuid:route_id>")
@described(status=204, on_condition=True)
async def remove(route_id: uuid.UUID) -> Response:
    """Delete a route."""
    mine = own()
    await mine.integrations.delete_route(mine.tenant_id, route_id, actor=mine.actor, only_if=wanted_revisions())
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
