"""``/customer/audit-log``: who did what in the tenant, operators included. For customer_admin."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.audit_pages import AuditFilter, own_audit_page
from pulse_postgres.paging import parted
from pulse_server.inputs import AuditPage
from pulse_server.outputs.audit import OwnAuditLineList
from pulse_server.web import pages
from pulse_server.web.access import deeds
from pulse_server.web.bodies import query_as
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import described

blueprint = Blueprint("customer_audit_log", __name__, url_prefix="/audit-log")


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Viewers see what is, not who did it."""


@blueprint.get("")
@described(OwnAuditLineList, query=AuditPage)
async def show() -> Response:
    """The tenant's lines, newest first."""
    asked, mine = query_as(AuditPage, blank=pages.wanted()), own()
    part, wanted = parted(asked.model_dump())
    found = await own_audit_page(mine.pool, AuditFilter(**wanted), mine.tenant_id, **part)
    return await deeds.many("/customer/audit-log", asked, found)
