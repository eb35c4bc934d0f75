"""``/customer/integration-routes/preview``: what a route would have sent, had it been there."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
from quart import Blueprint, Response

from pulse_core.clock import SystemClock
from pulse_core.records import AlertEvent
from pulse_core.routing import decide
from pulse_postgres.integration_pages import targets
from pulse_postgres.route_preview import recent_changes
from pulse_server.inputs import RouteFields
from pulse_server.outputs.previews import RoutePreview
from pulse_server.routing_input import route_of
from pulse_server.web import pages
from pulse_server.web.bodies import Problem, body_as, json_of, parse_as
from pulse_server.web.customer.own import Own, own
from pulse_server.web.customer.route_fields import form_of
from pulse_server.web.described import described
from pulse_server.web.entrance import csrf
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    from pulse_core.records import AlertChange
    from pulse_server.web.forms.form import Taken

blueprint = Blueprint("customer_route_previews", __name__, url_prefix="/integration-routes")

PREVIEW_DAYS = 7
_PREVIEW_US = PREVIEW_DAYS * 24 * 3600 * 1_000_000
_PREVIEWED = 10_000
_NEWEST = 5
_NOBODY = str(uuid.UUID(int=0))


@blueprint.post("/preview")
@described(RoutePreview, body=RouteFields)
async def preview() -> Response:
    """What a route would have sent in the last seven days. Saves nothing, and asks of no integration.

    A page that sends its form gets the part of itself that says so.
    """
    mine = own()
    if not pages.wanted():
        return reply(await _previewed(await body_as(RouteFields), mine))
    form = form_of(await targets(mine.pool, mine.tenant_id))
    found = await of_form(mine, form.take(await csrf.form()))
    return await pages.page("customer/route_preview.html", preview=found)


async def of_form(mine: Own, taken: Taken) -> dict[str, Any] | None:
    """What the route that a form says would have sent, whomever it tells; None: something in the form is wrong."""
    value = {**taken.value, "integration_id": _NOBODY, "fallback_integration_id": None}
    try:
        wanted = parse_as(RouteFields, json_of(value))
    except Problem:
        return None
    return await _previewed(wanted, mine)


async def _previewed(wanted: RouteFields, mine: Own) -> dict[str, Any]:
    until_us = SystemClock().now_us()
    route = msgspec.structs.replace(route_of(wanted, mine.tenant_id), integration_enabled=True)
    found = await recent_changes(mine.pool, mine.tenant_id, until_us - _PREVIEW_US, _PREVIEWED + 1)
    looked = found[:_PREVIEWED]
    would = [change for change in looked if decide(route, change).matched]
    return {
        "days": PREVIEW_DAYS,
        "notifications": len(would),
        "by_event": {event: sum(change.event is event for change in would) for event in AlertEvent},
        "changes": len(looked),
        "complete": len(found) <= _PREVIEWED,
        "newest": [_told(change) for change in would[:_NEWEST]],
    }


def _told(change: AlertChange) -> dict[str, Any]:
    return {
        "alert_id": change.alert.alert_id,
        "device_id": change.device.device_id,
        "site_id": change.alert.site_id,
        "alert_type": change.alert.alert_type,
        "severity": int(change.alert.severity),
        "event": change.event,
        "summary": change.alert.summary,
        "changed_at": dt.datetime.fromtimestamp(change.at_us / 1e6, dt.UTC),
    }
