"""``/operator/tenants/<id>/metrics``: what a tenant's devices measure, and what its people said of that."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response

from pulse_server.inputs import MetricPage
from pulse_server.outputs.metrics import Metric, MetricList
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.conditions import versioned
from pulse_server.web.described import described
from pulse_server.web.metrics import demand_metric, metrics_of, one_of, page_of
from pulse_server.web.replies import demand_tenant_id
from pulse_server.web.services import services
from pulse_server.web.views import either

blueprint = Blueprint("metrics", __name__, url_prefix="/tenants/<tenant_id>/metrics")


@blueprint.get("")
@described(MetricList, query=MetricPage)
async def of_tenant(tenant_id: str) -> Response:
    """The metrics of one tenant."""
    demand_tenant_id(tenant_id)
    asked = query_as(MetricPage, blank=pages.wanted())
    tenant = await services().tenants.get(tenant_id)
    seen = await services().metrics_seen.of(tenant_id)
    known = metrics_of(tenant_id, await services().metrics.entries(tenant_id), seen)

    async def besides() -> dict[str, Any]:
        counting = services().metrics_seen.counts(tenant_id)
        return {"tenant": tenant, "known": seen is not None, "counting": counting}

    return await either("operator/metrics.html", page_of(known, asked), besides=besides)


@blueprint.get("/<metric>")
@described(Metric)
async def one(tenant_id: str, metric: str) -> Response:
    """One metric of a tenant; 404 when no device sent it lately and nothing is said of it."""
    demand_tenant_id(tenant_id)
    demand_metric(metric)
    seen = await services().metrics_seen.of(tenant_id)
    said = await services().metrics.entries(tenant_id, [metric])
    return versioned(one_of(tenant_id, said, seen, metric), living=True)
