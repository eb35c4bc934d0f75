"""``/customer/alerts``: what happened, and why somebody was, or was not, told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_postgres.delivery.pages import deliveries_of_alert
from pulse_postgres.incidents import LOOKED_AT, AlertFilter, alert_page, count_live, one_alert
from pulse_postgres.integration_pages import names_of, routes_left
from pulse_postgres.paging import parted
from pulse_server.inputs import AlertPage
from pulse_server.outputs.alerts import AlertList, AlertTrace, AlertWithChanges
from pulse_server.trace import integrations_in, routes_in, trace_of
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.replies import parts_of
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

blueprint = Blueprint("customer_alerts", __name__, url_prefix="/alerts")


@blueprint.get("")
@described(AlertList, query=AlertPage)
async def show() -> Response:
    """The tenant's alerts, newest first."""
    asked = query_as(AlertPage, blank=pages.wanted())
    part, fields = parted(asked.model_dump())
    mine, wanted = own(), AlertFilter(**fields)
    found = await alert_page(mine.pool, wanted, tenant_id=mine.tenant_id, **part)

    async def besides() -> dict[str, Any]:
        counts, more = await count_live(mine.pool, wanted, mine.tenant_id)
        return {"asked": asked, "counts": counts, "counts_from": LOOKED_AT if more else None}

    return await either("customer/alerts.html", parts_of(found), besides=besides)


@blueprint.get("/<uuid:alert_id>")
@described(AlertWithChanges)
async def one(alert_id: uuid.UUID) -> Response:
    """One alert with its changes."""
    mine = own()
    alert = await one_alert(mine.pool, mine.tenant_id, alert_id)

    async def besides() -> dict[str, Any]:
        return {"trace": await _traced(mine, alert), "routes_left": await _routes_left(mine, alert)}

    return await either("customer/alert.html", alert, besides=besides)


@blueprint.get("/<uuid:alert_id>/trace")
@described(AlertTrace)
async def trace(alert_id: uuid.UUID) -> Response:
    """For each change of an alert: what every route decided and why, and what became of what was sent."""
    mine = own()
    alert = await one_alert(mine.pool, mine.tenant_id, alert_id)

    async def besides() -> dict[str, Any]:
        return {"routes_left": await _routes_left(mine, alert)}

    return await either("customer/alert_trace.html", await _traced(mine, alert), besides=besides)


async def _traced(mine: Own, alert: Mapping[str, Any]) -> dict[str, Any]:
    deliveries = await deliveries_of_alert(mine.pool, mine.tenant_id, alert["alert_id"])
    names = await names_of(mine.pool, mine.tenant_id, integrations_in(alert))
    return trace_of(alert, deliveries, names)


async def _routes_left(mine: Own, alert: Mapping[str, Any]) -> set[str]:
    """Those routes that have a page still."""
    return {str(each) for each in await routes_left(mine.pool, mine.tenant_id, routes_in(alert))}
