"""Is everything that came in, and everything that was promised, still there?"""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.outputs.operating import Books
from pulse_server.web.described import described
from pulse_server.web.services import services
from pulse_server.web.views import either

blueprint = Blueprint("ledger", __name__)


@blueprint.get("/ledger")
@described(Books)
async def ledger() -> Response:
    """The books at this moment, everything counted: ``balanced``, and each line with both sides and its difference."""
    return await either("operator/ledger.html", (await services().ledger.check()).shown())
