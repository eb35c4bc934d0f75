"""``…/replay``: what is finished is sent again, one delivery or all that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_postgres.delivery.pages import DeliveryFilter, one_delivery
from pulse_server.inputs import ReplayBody
from pulse_server.outputs.deliveries import Delivery, Replayed
from pulse_server.web.bodies import Problem, body_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_replays", __name__, url_prefix="/deliveries")


@blueprint.post("/<uuid:delivery_id>/replay")
@described(Delivery, status=201)
async def replay(delivery_id: uuid.UUID) -> Response:
    """Make a finished delivery again, and answer with the new one."""
    mine = own()
    made = await mine.requests.replay(mine.tenant_id, delivery_id, actor=mine.actor)
    return reply(await one_delivery(mine.pool, mine.tenant_id, made), 201)


@blueprint.post("/replay")
@described(Replayed, body=ReplayBody)
async def replay_all() -> Response:
    """Count the finished deliveries that fit; or, given that count, make them all again."""
    wanted, mine = await body_as(ReplayBody), own()
    which = DeliveryFilter(**wanted.model_dump(exclude={"dry_run", "count"}))
    if wanted.dry_run:
        count = await mine.requests.count(mine.tenant_id, which)
    elif wanted.count is None:
        missing = {"field": "count", "message": "needed when dry_run is false: as many as a dry run counted"}
        raise Problem(422, "some fields are wrong", errors=[missing])
    else:
        count = await mine.requests.replay_all(mine.tenant_id, which, count=wanted.count, actor=mine.actor)
    return reply({"count": count, "dry_run": wanted.dry_run})
