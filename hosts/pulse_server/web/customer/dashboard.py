"""``/customer/dashboard``: how the tenant is doing, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_postgres.counts import REJECTED_OVER_MIN, count_all
from pulse_postgres.incidents import AlertFilter, alert_page
from pulse_server.outputs.dashboards import Dashboard
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_server.web.customer.own import Own

blueprint = Blueprint("customer_dashboard", __name__, url_prefix="/dashboard")

_NEWEST = 8


@blueprint.get("")
@described(Dashboard)
async def show() -> Response:
    """Counts: devices by status, open alerts by severity, deliveries by status, refusals by reason."""
    mine = own()
    counts = await count_all(mine.pool, tenant_id=mine.tenant_id)
    value = {**counts, "rejected_over_min": REJECTED_OVER_MIN}
    return await either("customer/dashboard.html", value, besides=lambda: _newest(mine))


async def _newest(mine: Own) -> dict[str, Any]:
    """The newest of the alerts that are not closed, and whether there is any integration to tell somebody of them."""
    alerts = await alert_page(mine.pool, AlertFilter(live=True), tenant_id=mine.tenant_id, limit=_NEWEST)
    integrations = await mine.integrations.page(mine.tenant_id, limit=1)
    return {"newest": alerts.items, "has_integrations": bool(integrations.items)}
