"""``/operator/tenants``: made, renamed, suspended, resumed, removed. For operator_admin."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response

from pulse_postgres.counts import REJECTED_OVER_MIN
from pulse_server.inputs import RemoveQuery, TenantBody, TenantListQuery, TenantPatch
from pulse_server.outputs.tenants import Tenant, TenantDetail, TenantList, TenantRemoved
from pulse_server.web import pages
from pulse_server.web.bodies import Problem, body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.replies import demand_tenant_id, parts_of, reply
from pulse_server.web.services import services
from pulse_server.web.views import either

blueprint = Blueprint("tenants", __name__, url_prefix="/tenants")
blueprint.before_request(demand_admin)


@blueprint.get("")
@described(TenantList, query=TenantListQuery)
async def show() -> Response:
    """Tenants by id."""
    asked = query_as(TenantListQuery, blank=pages.wanted())
    found = await services().provisioning.tenants(**asked.model_dump())
    return await either("operator/tenants.html", parts_of(found))


@blueprint.post("")
@described(Tenant, body=TenantBody, status=201)
async def create() -> Response:
    """Make a tenant; 409 when there is one of that id."""
    wanted = await body_as(TenantBody)
    made = await services().provisioning.create_tenant(**wanted.model_dump(), actor=principal().subject)
    return versioned(made, 201)


@blueprint.get("/<tenant_id>")
@described(TenantDetail)
async def one(tenant_id: str) -> Response:
    """One tenant."""
    demand_tenant_id(tenant_id)
    tenant = await services().tenants.get(tenant_id)

    async def figures() -> dict[str, Any]:
        return {
            "counts": await services().overview.counts(tenant_id=tenant_id),
            "rejected_over_min": REJECTED_OVER_MIN,
            "removal": services().removals.of(tenant_id),
        }

    return await either("operator/tenant.html", tenant, versioned, besides=figures)


@blueprint.patch("/<tenant_id>")
@described(TenantDetail, body=TenantPatch)
async def change(tenant_id: str) -> Response:
    """Rename, suspend or resume a tenant."""
    demand_tenant_id(tenant_id)
    only_if, wanted = wanted_revisions(), await body_as(TenantPatch)
    changes = wanted.model_dump(exclude_unset=True)
    return versioned(await services().tenants.change(tenant_id, changes, actor=principal().subject, only_if=only_if))


@blueprint.delete("/<tenant_id>")
@described(TenantRemoved, query=RemoveQuery, on_condition=True)
async def remove(tenant_id: str) -> Response:
    """Remove a suspended tenant with all its data, for good; ``?confirm=`` repeats its id."""
    demand_tenant_id(tenant_id)
    if query_as(RemoveQuery).confirm != tenant_id:
        wrong = [{"field": "confirm", "message": "repeat the id of the tenant"}]
        raise Problem(422, "some parameters are wrong", errors=wrong)
    only_if = wanted_revisions()
    gone = await services().tenants.remove(tenant_id, actor=principal().subject, only_if=only_if)
    return reply({"removed": {"readings": gone}})
