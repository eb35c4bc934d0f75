"""``/api/admin/tenants``."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs import Page, TenantBody
from pulse_server.web.actor import ADMIN
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import versioned
from pulse_server.web.replies import page_reply
from pulse_server.web.services import services

blueprint = Blueprint("tenants", __name__, url_prefix="/tenants")


@blueprint.get("")
async def show() -> Response:
    """Tenants by id."""
    asked = query_as(Page)
    return page_reply(await services().provisioning.tenants(limit=asked.limit, cursor=asked.cursor))


@blueprint.post("")
async def create() -> Response:
    """Make a tenant; 409 when there is one of that id."""
    wanted = await body_as(TenantBody)
    made = await services().provisioning.create_tenant(
        wanted.tenant_id, name=wanted.name, stale_after_s=wanted.stale_after_s, actor=ADMIN
    )
    return versioned(made, 201)
