"""``/customer/dashboard``: how the tenant is doing, in numbers."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_postgres.counts import REJECTED_OVER_MIN, count_all
from pulse_server.outputs.dashboards import Dashboard
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import reply

blueprint = Blueprint("customer_dashboard", __name__, url_prefix="/dashboard")


@blueprint.get("")
@described(Dashboard)
async def show() -> Response:
    """Counts: devices by status, open alerts by severity, deliveries by status, refusals by reason."""
    mine = own()
    counts = await count_all(mine.pool, tenant_id=mine.tenant_id)
    return reply({**counts, "rejected_over_min": REJECTED_OVER_MIN})
