"""``…/test``: try an integration, and see exactly what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_core.errors import NotFound
from pulse_server.outputs.deliveries import Delivery
from pulse_server.trial import begun, tried
from pulse_server.web import pages
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_trials", __name__, url_prefix="/integrations")


@blueprint.post("/<uuid:integration_id>/test")
@blueprint.post("/<channel:type_>/<uuid:integration_id>/test")
@described(Delivery, also={202: Delivery})
async def run(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Deliver a test at once: 200 with the delivery and its attempt, or 202 while it is not finished.

    A browser goes to the delivery's page, which shows what happens as it happens.
    """
    mine = own()
    if type_ not in {None, (await mine.integrations.get(mine.tenant_id, integration_id))["type"]}:
        raise NotFound("there is no such integration")
    if pages.wanted():
        made = await begun(mine.pool, mine.tenant_id, integration_id, actor=mine.actor)
        return pages.to(f"/customer/deliveries/{made}")
    delivery = await tried(mine.pool, mine.tenant_id, integration_id, actor=mine.actor)
    return reply(delivery, 202 if delivery["next"] else 200)
