"""``/customer/dashboard``: how the tenant is doing, in numbers."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request

from pulse_postgres.counts import REJECTED_OVER_MIN, count_all
from pulse_postgres.devices import DeviceFilter, device_page, has_sent
from pulse_postgres.history import last_day, messages_a_minute
from pulse_postgres.incidents import AlertFilter, alert_page
from pulse_server.device_lines import Example, doors, http_line
from pulse_server.outputs.dashboards import Dashboard
from pulse_server.outputs.series import SeriesAnswer
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_postgres.history import Counted
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
    devices = sum(counts["devices"].values())
    return await either("customer/dashboard.html", value, besides=lambda: _besides(mine, devices))


@blueprint.get("/history")
@described(SeriesAnswer)
async def history() -> Response:
    """The last 24 hours: messages accepted and refused by minute, alerts opened and deliveries ended by hour."""
    mine = own()
    now = dt.datetime.now(dt.UTC)
    counted = await last_day(mine.pool, mine.tenant_id, now)
    return reply({"start": counted[0].starts[0], "end": now, "series": [_item(each) for each in counted]})


def _item(counted: Counted) -> dict[str, Any]:
    return {"name": counted.name, "bucket_s": counted.bucket_s, "at": counted.starts, "values": counted.lines}


async def _besides(mine: Own, devices: int) -> dict[str, Any]:
    """What only the page shows: the newest of the alerts that are not closed, what a new tenant has still to do, how
    many messages come at present, and the last day, which htmx does not read again.
    """
    now = dt.datetime.now(dt.UTC)
    alerts = await alert_page(mine.pool, AlertFilter(live=True), tenant_id=mine.tenant_id, limit=_NEWEST)
    again = "HX-Request" in request.headers
    return {
        "newest": alerts.items,
        "start": await _start(mine, devices),
        "a_minute": await messages_a_minute(mine.pool, mine.tenant_id, now),
        "now": now,
        "charts": None if again else [each.by_hour() for each in await last_day(mine.pool, mine.tenant_id, now)],
    }


async def _start(mine: Own, devices: int) -> dict[str, Any] | None:
    """Which of the three steps with which everybody begins are done; None: all of them."""
    integrations = await mine.integrations.page(mine.tenant_id, limit=1)
    told, sent = bool(integrations.items), devices > 0 and await has_sent(mine.pool, mine.tenant_id)
    if told and sent:
        return None
    newest = await device_page(mine.pool, DeviceFilter(), tenant_id=mine.tenant_id, sort="-created_at", limit=1)
    device = newest.items[0] if newest.items else None
    device_id, site_id = (device["device_id"], device["site_id"]) if device else ("my-device", "my-site")
    line = http_line(doors(services().config), Example(mine.tenant_id, device_id, site_id, "$TOKEN"))
    return {"registered": devices > 0, "sent": sent, "told": told, "device": device, "line": line}
