"""Quart, with what comes between the hooks that let a caller in and the route: its limit, and its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Quart

from pulse_server.web.around import repeats
from pulse_server.web.around.limits import charge_writer

if TYPE_CHECKING:
    from quart.ctx import RequestContext
    from quart.typing import ResponseReturnValue


class Web(Quart):
    """The web application."""

    async def dispatch_request(self, request_context: RequestContext | None = None) -> ResponseReturnValue:
        """Call the route, unless its caller writes too often, or the request is an old one."""
        charge_writer()
        route = super().dispatch_request
        return await repeats.once(lambda: route(request_context))
