"""``/customer/channel-types``: what an integration can be."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_core.plugins import channel_schema
from pulse_server.outputs.integrations import ChannelKinds
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.services import services

blueprint = Blueprint("channels", __name__)


@blueprint.get("/channel-types")
@described(ChannelKinds)
async def show() -> Response:
    """Every installed channel: its name, what it does, and the JSON Schema of its config."""
    channels = services().plugins.channels
    items = [
        {"name": name, "summary": channels[name].summary, "schema": channel_schema(channels[name])}
        for name in sorted(channels)
    ]
    return reply({"items": items, "next": None})
