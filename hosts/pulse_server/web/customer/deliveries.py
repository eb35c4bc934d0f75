"""``/customer/deliveries``: the ledger of what was sent, with every attempt and what happens next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_postgres.delivery.pages import DeliveryFilter, delivery_page, one_delivery
from pulse_postgres.paging import parted
from pulse_server.inputs import DeliveryPage, DeliveryPart
from pulse_server.outputs.deliveries import Delivery, DeliveryList
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply, reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_deliveries", __name__)


@blueprint.get("/deliveries")
@described(DeliveryList, query=DeliveryPage)
async def show() -> Response:
    """The tenant's deliveries, newest first."""
    part, wanted = parted(query_as(DeliveryPage).model_dump())
    mine = own()
    return page_reply(await delivery_page(mine.pool, DeliveryFilter(**wanted), tenant_id=mine.tenant_id, **part))


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
    return reply(await one_delivery(mine.pool, mine.tenant_id, delivery_id))


@blueprint.post("/deliveries/<uuid:delivery_id>/cancel")
@described(Delivery)
async def cancel(delivery_id: uuid.UUID) -> Response:
    """Do not attempt it again; 409 when it is finished, or an attempt is under way."""
    mine = own()
    await mine.requests.cancel(mine.tenant_id, delivery_id, actor=mine.actor)
    return reply(await one_delivery(mine.pool, mine.tenant_id, delivery_id))
