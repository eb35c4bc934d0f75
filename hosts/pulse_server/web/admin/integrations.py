"""``/api/admin/integrations`` and ``/api/admin/integration-routes``: who is told, and of what."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from quart import Blueprint, Response

from pulse_postgres.integration_pages import shown_route
from pulse_server.configured import UnknownChannel, channel_of, sealed, shown
from pulse_server.inputs import IntegrationBody, IntegrationQuery, RouteBody, RouteQuery, schedule
from pulse_server.outputs.integrations import Integration, IntegrationList, Route, RouteList
from pulse_server.problems import field_errors
from pulse_server.routing_input import route_of
from pulse_server.web.actor import ADMIN
from pulse_server.web.bodies import Problem, body_as, query_as
from pulse_server.web.conditions import versioned
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.services import services

blueprint = Blueprint("integrations", __name__)


@blueprint.get("/integrations")
@described(IntegrationList, query=IntegrationQuery)
async def show() -> Response:
    """Integrations, secrets masked."""
    asked = query_as(IntegrationQuery)
    page = await services().overview.integrations(type_=asked.type, **asked.model_dump(exclude={"type"}))
    items = [shown(services().plugins, item) for item in page.items]
    return reply({"items": items, "next": page.next})


@blueprint.post("/integrations")
@described(Integration, body=IntegrationBody, status=201)
async def create() -> Response:
    """Make an integration; its config is checked by the channel's own model."""
    wanted = await body_as(IntegrationBody)
    public, secrets = _sealed(wanted)
    made = await services().integrations.create(
        wanted.tenant_id,
        wanted.type,
        wanted.name,
        public,
        secrets,
        enabled=wanted.enabled,
        retry=schedule(wanted.retry),
        actor=ADMIN,
    )
    return versioned(shown(services().plugins, made), 201)


@blueprint.get("/integration-routes")
@described(RouteList, query=RouteQuery)
async def show_routes() -> Response:
    """Routes by tenant and id."""
    asked = query_as(RouteQuery)
    page = await services().overview.routes(**asked.model_dump())
    return reply({"items": page.items, "next": page.next})


@blueprint.post("/integration-routes")
@described(Route, body=RouteBody, status=201)
async def create_route() -> Response:
    """Make a route; 404 when the tenant has no such integration."""
    wanted = await body_as(RouteBody)
    made = await services().integrations.create_route(route_of(wanted, wanted.tenant_id), actor=ADMIN)
    return versioned(shown_route(made), 201)


def _sealed(wanted: IntegrationBody) -> tuple[dict[str, Any], bytes | None]:
    try:
        channel = channel_of(services().plugins, wanted.type)
        return sealed(channel, services().box, wanted.config, allow_plain_http=services().config.allows_plain_http)
    except UnknownChannel as error:
        raise Problem(422, "some fields are wrong", errors=[{"field": "type", "message": str(error)}]) from error
    except ValidationError as error:
        raise Problem(422, "some fields are wrong", errors=field_errors(error, ["config"])) from error
