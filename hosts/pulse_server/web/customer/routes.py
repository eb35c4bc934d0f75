"""``/customer/integration-routes``: which alerts go to which integration."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, ConfigDict
from quart import Blueprint, Response

from pulse_postgres.integration_pages import shown_route, targets
from pulse_server.inputs import RouteFields, RoutePage, RoutePatch
from pulse_server.outputs.integrations import Route, RouteList
from pulse_server.route_sentences import sentence
from pulse_server.routing_input import route_of
from pulse_server.web import pages
from pulse_server.web.bodies import body_as, parse_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.replies import parts_of
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from pulse_core.records import Route as StoredRoute

blueprint = Blueprint("customer_routes", __name__, url_prefix="/integration-routes")


class _Changes(BaseModel):
    """Any fields of a route: merged with the route that is there, and checked as a whole."""

    model_config = ConfigDict(frozen=True, extra="allow")


@blueprint.get("")
@described(RouteList, query=RoutePage)
async def show() -> Response:
    """The tenant's routes. A person gets them in the order in which they are asked."""
    asked, mine = query_as(RoutePage, blank=pages.wanted()), own()
    wanted = asked.model_dump()
    if pages.wanted() and "sort" not in asked.model_fields_set:
        wanted["sort"] = "priority"
    found = await mine.integrations.route_page(mine.tenant_id, **wanted)
    return await either("customer/routes.html", parts_of(found), besides=partial(_said, mine, found.items))


@blueprint.post("")
@described(Route, body=RouteFields, status=201)
async def create() -> Response:
    """Make a route; 404 when the tenant has no such integration."""
    wanted, mine = await body_as(RouteFields), own()
    made = await mine.integrations.create_route(route_of(wanted, mine.tenant_id), actor=mine.actor)
    return versioned(shown_route(made), 201)


async def _said(mine: Own, routes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What each route does, in a sentence, by its id."""
    ids = {each[name] for each in routes for name in ("integration_id", "fallback_integration_id")} - {None}
    found = await targets(mine.pool, mine.tenant_id, [*ids])
    return {"targets": found, "sentences": {each["route_id"]: sentence(each, found) for each in routes}}


@blueprint.get("/<uuid:route_id>")
@described(Route)
async def one(route_id: uuid.UUID) -> Response:
    """One route."""
    mine = own()
    found = shown_route(await mine.integrations.get_route(mine.tenant_id, route_id))
    return await either("customer/route.html", found, versioned, besides=partial(_said, mine, [found]))


@blueprint.patch("/<uuid:route_id>")
@described(Route, body=RoutePatch)
async def change(route_id: uuid.UUID) -> Response:
    """Change the fields that are given."""
    only_if, changes, mine = wanted_revisions(), await body_as(_Changes), own()

    def merged(kept: StoredRoute) -> StoredRoute:
        whole = {**fields_of(shown_route(kept)), **(changes.model_extra or {})}
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


def fields_of(route: Mapping[str, Any]) -> dict[str, Any]:
    """What of a route people write."""
    return {name: value for name, value in route.items() if name in RouteFields.model_fields}
