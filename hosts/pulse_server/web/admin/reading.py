"""What programs read with the admin key: a device's telemetry, alerts, deliveries with their attempts."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from quart import Blueprint, Response

from pulse_core.api import DeviceKey, StoredReading
from pulse_postgres.paging import read_cursor, write_cursor
from pulse_server.inputs import AlertQuery, DeliveryQuery, TelemetryQuery
from pulse_server.web.bodies import query_as
from pulse_server.web.replies import demand_ids, page_reply, reply
from pulse_server.web.services import services

blueprint = Blueprint("reading", __name__)

_AHEAD_US = 11 * 60 * 1_000_000
"""A device's clock may run ahead of ours by a little less than this."""


@blueprint.get("/devices/<tenant_id>/<device_id>/telemetry")
async def telemetry(tenant_id: str, device_id: str) -> Response:
    """Readings of one device, newest first, in [start, end).

    Readings of one ``ts`` are never parted, so a page may be a little longer than ``limit``.
    """
    demand_ids(tenant_id, device_id)
    asked = query_as(TelemetryQuery)
    after = read_cursor(asked.cursor, tuple[int])
    await services().overview.device(tenant_id, device_id)
    readings = await services().telemetry.history(
        DeviceKey(tenant_id, device_id),
        start_us=_us(asked.start, 0),
        end_us=_us(asked.end, time.time_ns() // 1000 + _AHEAD_US),
        limit=asked.limit,
        before_us=after[0] if after else None,
    )
    more = len(readings) >= asked.limit
    return reply(
        {
            "items": [_reading(each) for each in readings],
            "next": write_cursor(readings[-1].ts_us) if more else None,
        }
    )


@blueprint.get("/alerts")
async def alerts() -> Response:
    """Alerts, newest first."""
    asked = query_as(AlertQuery)
    return page_reply(await services().overview.alerts(**asked.model_dump()))


@blueprint.get("/deliveries")
async def deliveries() -> Response:
    """Deliveries, newest first, each with its attempts."""
    asked = query_as(DeliveryQuery)
    return page_reply(await services().overview.deliveries(**asked.model_dump()))


def _us(moment: dt.datetime | None, default: int) -> int:
    """Microseconds since the epoch; a time without a zone is UTC."""
    if moment is None:
        return default
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _reading(reading: StoredReading) -> dict[str, Any]:
    return {
        "ts": _iso(reading.ts_us),
        "received_at": _iso(reading.received_us),
        "msg_type": reading.msg_type,
        "site_id": reading.site_id,
        "seq": reading.seq,
        "metrics": reading.metrics,
    }


def _iso(at_us: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=at_us)
