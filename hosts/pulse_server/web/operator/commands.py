"""``/operator/commands``: what devices are asked to do, across tenants."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs.commands import CommandQuery
from pulse_server.outputs.commands import CommandList
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.replies import page_reply
from pulse_server.web.services import services

blueprint = Blueprint("commands", __name__, url_prefix="/commands")


@blueprint.get("")
@described(CommandList, query=CommandQuery)
async def show() -> Response:
    """Commands, newest first."""
    asked = query_as(CommandQuery)
    return page_reply(await services().overview.commands(**asked.model_dump()))
