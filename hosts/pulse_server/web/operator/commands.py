"""``/operator/commands``: what devices are asked to do, across tenants."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs.commands import CommandQuery
from pulse_server.outputs.commands import CommandList
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.replies import parts_of
from pulse_server.web.services import services
from pulse_server.web.views import either

blueprint = Blueprint("commands", __name__, url_prefix="/commands")


@blueprint.get("")
@described(CommandList, query=CommandQuery)
async def show() -> Response:
    """Commands, newest first."""
    asked = query_as(CommandQuery, blank=pages.wanted())
    found = await services().overview.commands(**asked.model_dump())
    return await either("operator/commands.html", parts_of(found))
