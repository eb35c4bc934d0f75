"""``…/replay``: what is finished is sent again, one delivery or all that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.errors import Conflict
from pulse_postgres.delivery.pages import DeliveryFilter, one_delivery
from pulse_postgres.delivery.requests import REPLAYED_AT_MOST
from pulse_server.inputs import ReplayBody
from pulse_server.outputs.deliveries import Delivery, Replayed
from pulse_server.web import after, pages
from pulse_server.web.bodies import Problem, body_as, json_of, parse_as
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.entrance import csrf
from pulse_server.web.forms.scalars import number
from pulse_server.web.replies import reply
from pulse_server.web.views import view

if TYPE_CHECKING:
    import uuid

    from werkzeug.datastructures import MultiDict

blueprint = Blueprint("customer_replays", __name__, url_prefix="/deliveries")

_FILTERS = ("status", "integration_id", "alert_id", "cause", "created_from", "created_before")
SELECTED = "selected"
"""In a page's form: those are meant that are ticked, which may be none."""


@blueprint.post("/<uuid:delivery_id>/replay")
@described(Delivery, status=201)
async def replay(delivery_id: uuid.UUID) -> Response:
    """Make a finished delivery again, and answer with the new one."""
    mine = own()
    made = await mine.requests.replay(mine.tenant_id, delivery_id, actor=mine.actor)
    if pages.wanted():
        return after.to(f"/customer/deliveries/{made}", "replayed")
    return reply(await one_delivery(mine.pool, mine.tenant_id, made), 201)


@blueprint.post("/replay")
@described(Replayed, body=ReplayBody)
async def replay_all() -> Response:
    """Count the finished deliveries that fit; or, given that count, make them all again.

    A page's form without a count gets the page that asks whether to; with one, the page that tells how far they are.
    """
    mine = own()
    if pages.wanted():
        return await _by_form(mine, await csrf.form())
    wanted = await body_as(ReplayBody)
    if wanted.dry_run:
        return reply({"count": await mine.requests.count(mine.tenant_id, _which(wanted)), "dry_run": True})
    if wanted.count is None:
        missing = {"field": "count", "message": "needed when dry_run is false: as many as a dry run counted"}
        raise Problem(422, "some fields are wrong", errors=[missing])
    made = await mine.requests.replay_all(mine.tenant_id, _which(wanted), count=wanted.count, actor=mine.actor)
    return reply({"count": len(made), "dry_run": False, "first": made[0] if made else None})


async def _by_form(mine: Own, sent: MultiDict[str, str]) -> Response:
    """Ask whether to, or do it."""
    if SELECTED in sent and "delivery_id" not in sent:
        return await view("customer/delivery_replays.html", count=0, fields=[], changed=False, selected=True)
    wanted = parse_as(ReplayBody, json_of(_said(sent)))
    if wanted.count is None:
        return await _ask(mine, wanted, sent)
    try:
        made = await mine.requests.replay_all(mine.tenant_id, _which(wanted), count=wanted.count, actor=mine.actor)
    except Conflict:
        return await _ask(mine, wanted, sent, status=409)
    if not made:
        return pages.to("/customer/deliveries")
    return after.to(f"/customer/deliveries/{made[0]}/batch", "replaying", len(made))


def _said(sent: MultiDict[str, str]) -> dict[str, Any]:
    """A form as the body of a program that says the same."""
    body: dict[str, Any] = {name: sent[name] for name in _FILTERS if sent.get(name)}
    if SELECTED in sent:
        body |= {"status": None, "delivery_ids": sent.getlist("delivery_id")}
    if given := sent.get("count", ""):
        body |= {"count": number(given), "dry_run": False}
    return body


async def _ask(mine: Own, wanted: ReplayBody, sent: MultiDict[str, str], status: int = 200) -> Response:
    """The page that says how many they are; what it is about goes with its form."""
    names = {*_FILTERS, SELECTED, "delivery_id"}
    return await view(
        "customer/delivery_replays.html",
        status,
        count=await mine.requests.count(mine.tenant_id, _which(wanted)),
        most=REPLAYED_AT_MOST,
        fields=[(name, value) for name, value in sent.items(multi=True) if name in names and value],
        changed=status != 200,  # noqa: PLR2004 - it was not done
        selected=SELECTED in sent,
    )


def _which(wanted: ReplayBody) -> DeliveryFilter:
    return DeliveryFilter(**wanted.model_dump(exclude={"dry_run", "count"}))
