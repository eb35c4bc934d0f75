"""``/customer/metrics``: what the tenant's devices measure, and what its people said of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_postgres.metric_catalogue import Said
from pulse_server.inputs import MetricBody, MetricPage
from pulse_server.outputs.metrics import Metric, MetricList
from pulse_server.web import pages
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.metrics import demand_metric, metrics_of, one_of, page_of
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    from collections.abc import Collection

blueprint = Blueprint("customer_metrics", __name__, url_prefix="/metrics")


@blueprint.get("")
@described(MetricList, query=MetricPage)
async def show() -> Response:
    """The metrics that devices sent in the last 7 days, and those of which something is said."""
    asked, mine = query_as(MetricPage, blank=pages.wanted()), own()
    seen = await services().metrics_seen.of(mine.tenant_id)
    known = metrics_of(mine.tenant_id, await mine.metrics.entries(mine.tenant_id), seen)

    async def besides() -> dict[str, Any]:
        return {"known": seen is not None, "counting": services().metrics_seen.counts(mine.tenant_id)}

    return await either("customer/metrics.html", page_of(known, asked), besides=besides)


@blueprint.get("/<metric>")
@described(Metric)
async def one(metric: str) -> Response:
    """One metric; 404 when no device sent it lately and nothing is said of it."""
    return versioned(await found(metric), living=True)


@blueprint.put("/<metric>")
@described(Metric, body=MetricBody)
async def say(metric: str) -> Response:
    """Say what it is, in place of what was said before; it may be one that no device has sent yet."""
    only_if, wanted = wanted_revisions(), await body_as(MetricBody)
    return versioned(await described_as(metric, wanted, only_if), living=True)


@blueprint.delete("/<metric>")
@described(status=204, on_condition=True)
async def forget(metric: str) -> Response:
    """Forget what is said of it; readings stay as they are."""
    only_if = wanted_revisions()
    await forgotten(metric, only_if)
    return Response(status=204)


async def found(metric: str) -> dict[str, Any]:
    """One of the tenant's metrics. Raises NotFound."""
    demand_metric(metric)
    mine = own()
    seen = await services().metrics_seen.of(mine.tenant_id)
    return one_of(mine.tenant_id, await mine.metrics.entries(mine.tenant_id, [metric]), seen, metric)


async def described_as(metric: str, wanted: MetricBody, only_if: Collection[str] | None) -> dict[str, Any]:
    """Say what a metric is. Raises what :meth:`~pulse_postgres.metric_catalogue.MetricCatalogue.say` does."""
    demand_metric(metric)
    mine = own()
    said = Said(**wanted.model_dump())
    entry = await mine.metrics.say(mine.tenant_id, metric, said, actor=mine.actor, only_if=only_if)
    return metrics_of(mine.tenant_id, [entry], await services().metrics_seen.of(mine.tenant_id))[0]


async def forgotten(metric: str, only_if: Collection[str] | None = None) -> None:
    """Forget what is said of a metric. Raises NotFound, Stale."""
    demand_metric(metric)
    mine = own()
    await mine.metrics.forget(mine.tenant_id, metric, actor=mine.actor, only_if=only_if)
