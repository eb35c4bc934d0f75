"""``/customer/alerts/…/acknowledge`` and ``…/close``: what people do to alerts, to one or to many at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from quart import Blueprint, Response

from pulse_core.records import AlertEvent
from pulse_postgres.alert_requests import Outcome
from pulse_postgres.incidents import one_alert
from pulse_server.inputs import AlertsBody, NoteBody
from pulse_server.outputs.alerts import AlertOutcomes, AlertWithChanges
from pulse_server.web import after, pages
from pulse_server.web.bodies import body_as, json_of, parse_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.entrance import csrf
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_alert_deeds", __name__, url_prefix="/alerts")

_DONE: Final = {AlertEvent.ACKNOWLEDGED: "acknowledged", AlertEvent.CLOSED: "closed"}
_SENTENCES: Final = {
    Outcome.ACKNOWLEDGED_ALREADY: "acknowledged_already",
    Outcome.CLOSED_ALREADY: "closed_already",
    Outcome.NOT_FOUND: "not_found",
}


@blueprint.post("/<uuid:alert_id>/acknowledge")
@described(AlertWithChanges, body=NoteBody, body_optional=True)
async def acknowledge(alert_id: uuid.UUID) -> Response:
    """Say that somebody looks after it; 409 when it is closed."""
    return await _one(alert_id, AlertEvent.ACKNOWLEDGED)


@blueprint.post("/<uuid:alert_id>/close")
@described(AlertWithChanges, body=NoteBody, body_optional=True)
async def close(alert_id: uuid.UUID) -> Response:
    """Close it by hand; 409 when it is closed. It opens again once what it told of has ended and begins anew."""
    return await _one(alert_id, AlertEvent.CLOSED)


@blueprint.post("/acknowledge")
@described(AlertOutcomes, body=AlertsBody, refuses=[404])
async def acknowledge_all() -> Response:
    """Acknowledge several, and say what became of each; 404 when there is none of them."""
    return await _several(AlertEvent.ACKNOWLEDGED)


@blueprint.post("/close")
@described(AlertOutcomes, body=AlertsBody, refuses=[404])
async def close_all() -> Response:
    """Close several by hand, and say what became of each; 404 when there is none of them."""
    return await _several(AlertEvent.CLOSED)


async def _one(alert_id: uuid.UUID, event: AlertEvent) -> Response:
    """Let it take a step: what became of it; a browser goes back to its page."""
    said, mine = await _said(), own()
    step = mine.alerts.close if event is AlertEvent.CLOSED else mine.alerts.acknowledge
    await step(mine.tenant_id, alert_id, actor=mine.actor, note=said.note)
    if pages.wanted():
        return after.to(f"/customer/alerts/{alert_id}", _DONE[event])
    return reply(await one_alert(mine.pool, mine.tenant_id, alert_id))


async def _several(event: AlertEvent) -> Response:
    """Let them take a step: what became of each; a browser goes back to the list."""
    said, mine = await _said_of_all(), own()
    if said is None:
        return await _back("nothing_chosen")
    became = await mine.alerts.step_all(mine.tenant_id, said.alert_ids, event, actor=mine.actor, note=said.note)
    if not pages.wanted():
        return reply({"results": [{"alert_id": each, "outcome": outcome} for each, outcome in became.items()]})
    counts = Counter(became.values())
    besides = [(name, counts[outcome]) for outcome, name in _SENTENCES.items() if counts[outcome]]
    return await _back(f"{_DONE[event]}_some", counts[Outcome.DONE], *besides)


async def _said() -> NoteBody:
    """The note of a program's JSON, or of a page's form."""
    if not pages.wanted():
        return await body_as(NoteBody, optional=True)
    return parse_as(NoteBody, json_of({"note": (await csrf.form()).get("note", "")}))


async def _said_of_all() -> AlertsBody | None:
    """As :func:`_said`, with the alerts; None: on the page nothing was selected."""
    if not pages.wanted():
        return await body_as(AlertsBody)
    form = await csrf.form()
    chosen = form.getlist("alert_ids")
    if not chosen:
        return None
    return parse_as(AlertsBody, json_of({"alert_ids": chosen, "note": form.get("note", "")}))


async def _back(sentence: str, number: int | None = None, *besides: tuple[str, int]) -> Response:
    """To the list, as it was filtered."""
    query = urlencode(parse_qsl((await csrf.form()).get("query", "")))
    return after.to(f"/customer/alerts?{query}" if query else "/customer/alerts", sentence, number, *besides)
