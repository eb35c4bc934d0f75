"""``/api/admin/tenants``."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs import TenantBody, TenantListQuery
from pulse_server.outputs.tenants import Tenant, TenantList
from pulse_server.web.actor import ADMIN
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import versioned
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply
from pulse_server.web.services import services

blueprint = Blueprint("tenants", __name__, url_prefix="/tenants")


@blueprint.get("")
@described(TenantList, query=TenantListQuery)
async def show() -> Response:
    """Tenants by id."""
    asked = query_as(TenantListQuery)
    return page_reply(await services().provisioning.tenants(**asked.model_dump()))


@blueprint.post("")
@described(Tenant, body=TenantBody, status=201)
async def create() -> Response:
    """Make a tenant; 409 when there is one of that id."""
    wanted = await body_as(TenantBody)
    made = await services().provisioning.create_tenant(**wanted.model_dump(), actor=ADMIN)
    return versioned(made, 201)
