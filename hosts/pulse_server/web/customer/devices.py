"""``/customer/devices``: the tenant's devices, how each is doing, and what it said."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.api import DeviceKey
from pulse_postgres.command_pages import CommandFilter, command_page
from pulse_postgres.device_connections import connection_page
from pulse_postgres.devices import DeviceFilter, device_page, one_device
from pulse_postgres.incidents import AlertFilter, alert_page
from pulse_postgres.paging import parted
from pulse_server.inputs import DevicePage, DevicePatch, OwnDeviceBody, Page, TelemetryQuery
from pulse_server.outputs.devices import Device, DeviceDetail, DeviceList
from pulse_server.outputs.series import Telemetry
from pulse_server.web import pages, readings
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.device_charts import charts_of
from pulse_server.web.customer.device_events import NEWEST, events_of
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.metrics import explained, said_of
from pulse_server.web.replies import demand_ids, parts_of
from pulse_server.web.series import telemetry_answer
from pulse_server.web.services import services
from pulse_server.web.sparks import sparks_of
from pulse_server.web.unread import spared
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_core.api import StoredReading
    from pulse_server.web.customer.own import Own
    from pulse_server.web.sparks import Spark

blueprint = Blueprint("customer_devices", __name__, url_prefix="/devices")

_ALERTS_SHOWN = 50
_LINES = 6
_NEWEST = 4
_SILENT = "NO_HEARTBEAT"
"""The alert that opens when a device becomes STALE, and closes when it is ONLINE again."""


@blueprint.get("")
@described(DeviceList, query=DevicePage)
async def show() -> Response:
    """The tenant's devices, with how each is doing."""
    part, wanted = parted(query_as(DevicePage, blank=pages.wanted()).model_dump())
    mine = own()
    found = await device_page(mine.pool, DeviceFilter(**wanted), tenant_id=mine.tenant_id, **part)
    ids = [each["device_id"] for each in found.items]

    async def besides() -> dict[str, Any]:
        sparks: dict[str, Spark] = {}
        async with spared() as unread:
            sparks = await sparks_of(mine.tenant_id, ids)
        said = await said_of(mine.metrics, mine.tenant_id, {each.metric for each in sparks.values()})
        units = {name: each["unit"] for name, each in said.items()}
        return {"sparks": sparks, "units": units, "unread": unread.away}

    return await either("customer/devices.html", parts_of(found), besides=besides)


@blueprint.post("")
@described(Device, body=OwnDeviceBody, status=201)
async def create() -> Response:
    """Register a device; it has no token until it is activated."""
    mine, wanted = own(), await body_as(OwnDeviceBody)
    made = await mine.provisioning.create_device(mine.tenant_id, actor=mine.actor, **wanted.model_dump())
    return versioned(made, 201, living=True)


@blueprint.get("/<device_id>")
@described(DeviceDetail)
async def one(device_id: str) -> Response:
    """One device: its status and since when, the latest value of each metric, its alerts that are not closed."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    device = await one_device(mine.pool, mine.tenant_id, device_id)
    newest: list[StoredReading] = []
    async with spared() as unread, services().telemetry_of(mine.tenant_id) as store:
        newest = await readings.newest_readings(store, DeviceKey(mine.tenant_id, device_id))
    live = AlertFilter(device_id=device_id, live=True)
    alerts = await alert_page(mine.pool, live, tenant_id=mine.tenant_id, limit=_ALERTS_SHOWN)
    latest = readings.latest_values(newest)
    said = await said_of(mine.metrics, mine.tenant_id, latest)
    whole = {**device, "latest": explained(latest, said), "open_alerts": alerts.items}

    async def besides() -> dict[str, Any]:
        last = readings.shown(newest[0]) if newest else None
        charts = None if unread.away else await charts_of(mine, device_id, said)
        told = None if unread.away else await events_of(mine, device_id, Page(limit=NEWEST))
        return {
            "unread": unread.away,
            "last": last,
            "charts": charts,
            "told": told,
            **await _history(mine, device_id),
        }

    return await either("customer/device.html", whole, partial(versioned, living=True), besides=besides)


async def _history(mine: Own, device_id: str) -> dict[str, Any]:
    """The newest of what happened to a device: its events, connections, commands, alerts, and when it was silent."""
    of_it = AlertFilter(device_id=device_id)
    silences = AlertFilter(device_id=device_id, alert_type=_SILENT)
    connections = await connection_page(mine.pool, mine.tenant_id, device_id, limit=_LINES)
    commands = await command_page(mine.pool, CommandFilter(device_id=device_id), tenant_id=mine.tenant_id, limit=_LINES)
    return {
        "connections": parts_of(connections),
        "commands": parts_of(commands),
        "alerts": (await alert_page(mine.pool, of_it, tenant_id=mine.tenant_id, limit=_NEWEST)).items,
        "silences": (await alert_page(mine.pool, silences, tenant_id=mine.tenant_id, limit=_NEWEST)).items,
    }


@blueprint.patch("/<device_id>")
@described(Device, body=DevicePatch)
async def change(device_id: str) -> Response:
    """Change its name, its labels, or after how long it is stale."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    only_if, wanted = wanted_revisions(), (await body_as(DevicePatch)).changes()
    changed = await mine.devices.change(mine.tenant_id, device_id, wanted, actor=mine.actor, only_if=only_if)
    return versioned(changed, living=True)


@blueprint.get("/<device_id>/telemetry")
@described(Telemetry, query=TelemetryQuery)
async def telemetry(device_id: str) -> Response:
    """Readings of one device, newest first, in [from, to); or its metrics in buckets. As JSON or CSV."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    asked = query_as(TelemetryQuery)
    await one_device(mine.pool, mine.tenant_id, device_id)
    async with services().telemetry_of(mine.tenant_id) as store:
        return await telemetry_answer(store, DeviceKey(mine.tenant_id, device_id), asked)
