"""``/operator/dashboard``: how everything is doing, and which tenants are doing worst."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from quart import Blueprint, Response, current_app

from pulse_postgres.counts import REJECTED_OVER_MIN
from pulse_postgres.tenant_health import page_of
from pulse_server.inputs import Page
from pulse_server.outputs.dashboards import OperatorDashboard
from pulse_server.web import pages
from pulse_server.web.bodies import query_as
from pulse_server.web.described import described
from pulse_server.web.replies import parts_of
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_postgres.overview import Overview

blueprint = Blueprint("dashboard", __name__, url_prefix="/dashboard")

_FRESH_S = 2.0
"""All devices are counted: no more often than this, however many look."""


class Figures:
    """What one process counted last, across tenants."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._seen: dict[str, Any] = {}
        self._seen_at = float("-inf")

    async def look(self, overview: Overview) -> dict[str, Any]:
        """The figures now, or of two seconds ago."""
        async with self._turn:
            if time.monotonic() - self._seen_at > _FRESH_S:
                self._seen = await _counted(overview)
                self._seen_at = time.monotonic()
            return self._seen


@blueprint.get("")
@described(OperatorDashboard, query=Page)
async def show() -> Response:
    """Everything in figures, what came in lately, and how each tenant is doing, the worst first: they are paged."""
    asked = query_as(Page, blank=pages.wanted())
    figures = cast("Figures", current_app.extensions.setdefault("operator_figures", Figures()))
    found = dict(await figures.look(services().overview))
    health = parts_of(page_of(found.pop("health"), asked.limit, asked.cursor))
    return await either("operator/dashboard.html", {**found, "health": health})


async def _counted(overview: Overview) -> dict[str, Any]:
    health, tenants, events, intake, history, platform = await asyncio.gather(
        overview.tenant_health(),
        overview.tenants_by_status(),
        overview.events(),
        overview.intake(),
        overview.intake_history(),
        overview.platform(),
    )
    devices: dict[str, int] = {}
    for tenant in health:
        for status, count in tenant["devices"].items():
            if count:
                devices[status] = devices.get(status, 0) + count
    return {
        "tenants": tenants,
        "devices": devices,
        **events,
        "rejected_over_min": REJECTED_OVER_MIN,
        "intake": intake,
        "history": history,
        "platform": platform,
        "health": health,
    }
