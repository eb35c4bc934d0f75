"""``/operator/quarantine``: what was refused; kept only in DEV mode, counted always."""

from __future__ import annotations

import datetime as dt
from typing import Any

from quart import Blueprint, Response

from pulse_core.records import Reason
from pulse_postgres.refusals import refused_by_minute
from pulse_postgres.settings import PostgresSettings
from pulse_server.inputs import CountsQuery, QuarantineQuery
from pulse_server.outputs.quarantine import RefusedCountList, RefusedMessageList
from pulse_server.payloads import readable, visible
from pulse_server.reasons import EXPLAINED
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.operator.refusal_bars import MINUTES, bars_of
from pulse_server.web.replies import parts_of
from pulse_server.web.services import services
from pulse_server.web.views import either

blueprint = Blueprint("quarantine", __name__, url_prefix="/quarantine")


@blueprint.get("")
@described(RefusedMessageList, query=QuarantineQuery)
async def kept() -> Response:
    """Refused messages that were kept, newest first; ``raw`` is base64."""
    asked = query_as(QuarantineQuery, blank=pages.wanted())
    found = await services().overview.quarantine(**asked.model_dump())

    async def besides() -> dict[str, Any]:
        return {**_TELLING, "readable": readable, **await _around(asked.tenant_id)}

    return await either("operator/quarantine.html", parts_of(found), besides=besides)


@blueprint.get("/counts")
@described(RefusedCountList, query=CountsQuery)
async def counts() -> Response:
    """How many were refused, by minute, tenant ('' for strangers) and reason; newest first."""
    asked = query_as(CountsQuery, blank=pages.wanted())
    found = await services().overview.refused(**asked.model_dump())

    async def besides() -> dict[str, Any]:
        return _TELLING

    return await either("operator/quarantine_counts.html", parts_of(found), besides=besides)


_TELLING = {"explained": EXPLAINED, "visible": visible, "reasons": [str(each) for each in Reason]}


async def _around(tenant_id: str | None) -> dict[str, Any]:
    """What was counted in the last hour, and whether anything is kept at all."""
    pool = services().pools.operator
    counted = await refused_by_minute(pool, tenant_id=tenant_id, minutes=MINUTES)
    return {
        "hour": bars_of(counted, dt.datetime.now(dt.UTC)),
        "settings": await PostgresSettings(pool).load(),
    }
