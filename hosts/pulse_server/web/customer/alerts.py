"""``/customer/alerts``: what happened, and why somebody was, or was not, told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_postgres.delivery.pages import deliveries_of_alert
from pulse_postgres.incidents import AlertFilter, alert_page, one_alert
from pulse_postgres.integration_pages import names_of
from pulse_postgres.paging import parted
from pulse_server.inputs import AlertPage, NoteBody
from pulse_server.outputs.alerts import AlertList, AlertTrace, AlertWithChanges
from pulse_server.trace import integrations_in, trace_of
from pulse_server.web import after, pages
from pulse_server.web.bodies import body_as, json_of, parse_as, query_as
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.entrance import csrf
from pulse_server.web.replies import parts_of, reply
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_alerts", __name__, url_prefix="/alerts")


@blueprint.get("")
@described(AlertList, query=AlertPage)
async def show() -> Response:
    """The tenant's alerts, newest first."""
    part, wanted = parted(query_as(AlertPage, blank=pages.wanted()).model_dump())
    mine = own()
    found = await alert_page(mine.pool, AlertFilter(**wanted), tenant_id=mine.tenant_id, **part)
    return await either("customer/alerts.html", parts_of(found))


@blueprint.get("/<uuid:alert_id>")
@described(AlertWithChanges)
async def one(alert_id: uuid.UUID) -> Response:
    """One alert with its changes."""
    mine = own()
    return await either("customer/alert.html", await one_alert(mine.pool, mine.tenant_id, alert_id))


@blueprint.post("/<uuid:alert_id>/acknowledge")
@described(AlertWithChanges, body=NoteBody, body_optional=True)
async def acknowledge(alert_id: uuid.UUID) -> Response:
    """Say that somebody looks after it; 409 when it is closed."""
    said, mine = await _said(), own()
    await mine.alerts.acknowledge(mine.tenant_id, alert_id, actor=mine.actor, note=said.note)
    return await _done(mine, alert_id, "acknowledged")


@blueprint.post("/<uuid:alert_id>/close")
@described(AlertWithChanges, body=NoteBody, body_optional=True)
async def close(alert_id: uuid.UUID) -> Response:
    """Close it by hand; 409 when it is closed. It opens again once what it told of has ended and begins anew."""
    said, mine = await _said(), own()
    await mine.alerts.close(mine.tenant_id, alert_id, actor=mine.actor, note=said.note)
    return await _done(mine, alert_id, "closed")


@blueprint.get("/<uuid:alert_id>/trace")
@described(AlertTrace)
async def trace(alert_id: uuid.UUID) -> Response:
    """For each change of an alert: what every route decided and why, and what became of what was sent."""
    mine = own()
    alert = await one_alert(mine.pool, mine.tenant_id, alert_id)
    deliveries = await deliveries_of_alert(mine.pool, mine.tenant_id, alert_id)
    names = await names_of(mine.pool, mine.tenant_id, integrations_in(alert))
    return reply(trace_of(alert, deliveries, names))


async def _said() -> NoteBody:
    """The note of a program's JSON, or of a page's form."""
    if not pages.wanted():
        return await body_as(NoteBody, optional=True)
    return parse_as(NoteBody, json_of({"note": (await csrf.form()).get("note", "")}))


async def _done(mine: Own, alert_id: uuid.UUID, sentence: str) -> Response:
    """What became of the alert; a browser goes back to its page."""
    if pages.wanted():
        return after.to(f"/customer/alerts/{alert_id}", sentence)
    return reply(await one_alert(mine.pool, mine.tenant_id, alert_id))
