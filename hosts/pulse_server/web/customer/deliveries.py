"""``/customer/deliveries``: the ledger of what was sent, with every attempt and what happens next."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.errors import NotFound
from pulse_postgres.delivery.pages import DeliveryFilter, batch_of, caused_by, delivery_page, one_delivery
from pulse_postgres.integration_pages import shown_route, targets
from pulse_postgres.paging import parted
from pulse_server.inputs import DeliveryPage, DeliveryPart
from pulse_server.outputs.deliveries import Batch, Delivery, DeliveryList
from pulse_server.route_sentences import sentence
from pulse_server.web import after, pages
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply, parts_of, reply
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_deliveries", __name__)


@blueprint.get("/deliveries")
@described(DeliveryList, query=DeliveryPage)
async def show() -> Response:
    """The tenant's deliveries, newest first."""
    part, wanted = parted(query_as(DeliveryPage, blank=pages.wanted()).model_dump())
    mine = own()
    found = await delivery_page(mine.pool, DeliveryFilter(**wanted), tenant_id=mine.tenant_id, **part)

    async def besides() -> dict[str, Any]:
        return {"targets": await targets(mine.pool, mine.tenant_id), "wanted": wanted}

    return await either("customer/deliveries.html", parts_of(found), besides=besides)


@blueprint.get("/delivery-status")
@described(DeliveryList, query=DeliveryPart)
async def status() -> Response:
    """What was delivered lately, each with its attempts."""
    asked, mine = query_as(DeliveryPart), own()
    page = await delivery_page(mine.pool, DeliveryFilter(), tenant_id=mine.tenant_id, **asked.model_dump())
    return page_reply(page)


@blueprint.get("/deliveries/<uuid:delivery_id>")
@described(Delivery)
async def one(delivery_id: uuid.UUID) -> Response:
    """One delivery with its attempts."""
    mine = own()
    found = await one_delivery(mine.pool, mine.tenant_id, delivery_id)
    return await either("customer/delivery.html", found, besides=partial(_around, mine, found))


@blueprint.get("/deliveries/<uuid:delivery_id>/batch")
@described(Batch)
async def batch(delivery_id: uuid.UUID) -> Response:
    """What was made at once with it, and for the same cause, as by a replay of many: how far that is."""
    mine = own()
    found = await batch_of(mine.pool, mine.tenant_id, delivery_id)
    return await either("customer/delivery_batch.html", found, besides=partial(_listed, found))


@blueprint.post("/deliveries/<uuid:delivery_id>/cancel")
@described(Delivery)
async def cancel(delivery_id: uuid.UUID) -> Response:
    """Do not attempt it again; 409 when it is finished, or an attempt is under way."""
    mine = own()
    await mine.requests.cancel(mine.tenant_id, delivery_id, actor=mine.actor)
    if pages.wanted():
        return after.to(f"/customer/deliveries/{delivery_id}", "cancelled")
    return reply(await one_delivery(mine.pool, mine.tenant_id, delivery_id))


async def _listed(found: dict[str, Any]) -> dict[str, Any]:
    """What the list of a batch's deliveries is asked for with."""
    from_, until = found["created_at"], found["created_at"] + dt.timedelta(microseconds=1)
    return {
        "filters": {"cause": found["cause"], "created_from": from_.isoformat(), "created_before": until.isoformat()}
    }


async def _around(mine: Own, found: dict[str, Any]) -> dict[str, Any]:
    """What the page of a delivery says besides: its route in a sentence, what it caused, whether it may be replayed."""
    caused = await caused_by(mine.pool, mine.tenant_id, found["delivery_id"])
    live = await targets(mine.pool, mine.tenant_id, [found["integration_id"]])
    around: dict[str, Any] = {"caused": caused, "target": live.get(found["integration_id"]), "route": None}
    if found["route_id"] is not None:
        with suppress(NotFound):  # it may be deleted since
            route = shown_route(await mine.integrations.get_route(mine.tenant_id, found["route_id"]))
            ids = {route["integration_id"], route["fallback_integration_id"]} - {None}
            around["route"] = sentence(route, await targets(mine.pool, mine.tenant_id, [*ids]))
    return around
