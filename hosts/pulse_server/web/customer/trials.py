"""``…/test``: try an integration, and see exactly what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_core.errors import NotFound
from pulse_server.outputs.deliveries import Delivery
from pulse_server.trial import tried
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_trials", __name__, url_prefix="/integrations")


@blueprint.post("/<uuid:integration_id>/test")
@blueprint.post("/<channel:type_>/<uuid:integration_id>/test")
@described(Delivery, also={202: Delivery})
async def run(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Deliver a test at once: 200 with the delivery and its attempt, or 202 while it is not finished."""
    mine = own()
    if type_ not in {None, (await mine.integrations.get(mine.tenant_id, integration_id))["type"]}:
        raise NotFound("there is no such integration")
    delivery = await tried(mine.pool, mine.tenant_id, integration_id, actor=mine.actor)
    return await either("customer/tried.html", delivery, lambda value: reply(value, 202 if value["next"] else 200))
