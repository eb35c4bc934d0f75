"""``/operator/quarantine``: what was refused; kept only in DEV mode, counted always."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs import CountsQuery, QuarantineQuery
from pulse_server.outputs.quarantine import RefusedCountList, RefusedMessageList
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply
from pulse_server.web.services import services

blueprint = Blueprint("quarantine", __name__, url_prefix="/quarantine")


@blueprint.get("")
@described(RefusedMessageList, query=QuarantineQuery)
async def kept() -> Response:
    """Refused messages that were kept, newest first; ``raw`` is base64."""
    asked = query_as(QuarantineQuery)
    return page_reply(await services().overview.quarantine(**asked.model_dump()))


@blueprint.get("/counts")
@described(RefusedCountList, query=CountsQuery)
async def counts() -> Response:
    """How many were refused, by minute, tenant ('' for strangers) and reason; newest first."""
    asked = query_as(CountsQuery)
    return page_reply(await services().overview.refused(**asked.model_dump()))
