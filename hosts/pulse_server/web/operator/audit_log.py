"""``/operator/audit-log``: who did what, and who looked at what. For operator_admin."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_server.inputs import AuditQuery
from pulse_server.outputs.audit import AuditLineList
from pulse_server.web import pages
from pulse_server.web.access import deeds
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.services import services

blueprint = Blueprint("audit_log", __name__, url_prefix="/audit-log")
blueprint.before_request(demand_admin)


@blueprint.get("")
@described(AuditLineList, query=AuditQuery)
async def show() -> Response:
    """The audit log, newest first."""
    asked = query_as(AuditQuery, blank=pages.wanted())
    found = await services().overview.audit_log(**asked.model_dump())
    return await deeds.many("/operator/audit-log", asked, found)
