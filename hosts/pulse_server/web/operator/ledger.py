"""Is everything that came in, and everything that was promised, still there?"""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.outputs.operating import Books
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.services import services

blueprint = Blueprint("ledger", __name__)


@blueprint.get("/ledger")
@described(Books)
async def ledger() -> Response:
    """The books at this moment, everything counted: ``balanced``, and each line with both sides and its difference."""
    return reply((await services().ledger.check()).shown())
