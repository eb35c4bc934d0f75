"""``…/test``: try an integration, and see exactly what happened."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.errors import NotFound
from pulse_core.trial import a_test
from pulse_postgres.delivery_pages import one_delivery
from pulse_server.web.customer.own import Own, own
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_trials", __name__, url_prefix="/integrations")

WAIT_S = 20.0
"""So long a caller waits for the outcome; then it can be looked up."""

_LOOK_EVERY_S = 0.2


@blueprint.post("/<uuid:integration_id>/test")
@blueprint.post("/<channel:type_>/<uuid:integration_id>/test")
async def run(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Deliver a test at once: 200 with the delivery and its attempt, or 202 while it is not finished."""
    mine = own()
    if type_ not in {None, (await mine.integrations.get(mine.tenant_id, integration_id))["type"]}:
        raise NotFound("there is no such integration")
    delivery_id = await mine.requests.test(
        mine.tenant_id, integration_id, lambda made: a_test(mine.tenant_id, made, mine.actor), actor=mine.actor
    )
    delivery = await _outcome(mine, delivery_id)
    return reply(delivery, 202 if delivery["next"] else 200)


async def _outcome(mine: Own, delivery_id: uuid.UUID) -> dict[str, Any]:
    """The delivery when it is finished, or as it is after a while."""
    until = time.monotonic() + WAIT_S
    while True:
        delivery = await one_delivery(mine.pool, mine.tenant_id, delivery_id)
        if delivery["next"] is None or time.monotonic() > until:
            return delivery
        await asyncio.sleep(_LOOK_EVERY_S)
