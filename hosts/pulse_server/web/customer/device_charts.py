"""What the page of a device shows of its numbers over time before any script runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from quart import request

from pulse_core.api import DeviceKey
from pulse_server.inputs import TelemetryQuery
from pulse_server.web.metrics import said_of
from pulse_server.web.series import series_of
from pulse_server.web.services import services
from pulse_server.web.unread import spared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_server.web.customer.own import Own


class Range(NamedTuple):
    """A time that can be chosen."""

    title: str
    length_s: int
    row_s: int
    """How much of it is one row of the table."""


RANGES: Final = {
    "15m": Range("15 min", 900, 60),
    "1h": Range("1 h", 3600, 300),
    "6h": Range("6 h", 6 * 3600, 900),
    "24h": Range("24 h", 86400, 3600),
    "7d": Range("7 d", 7 * 86400, 6 * 3600),
    "30d": Range("30 d", 30 * 86400, 86400),
}
CHOSEN_BY_ITSELF: Final = "1h"


async def charts_of(mine: Own, device_id: str, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The device's numbers over the chosen time (``?range=``), in a few rows.

    ``said``: what is known to be said of some of its metrics already; of the others it is looked up.

    Nothing when htmx reads the page again: what it takes from it are not the charts, which update by themselves. And
    nothing when readings cannot be read now.
    """
    if "HX-Request" in request.headers:
        return None
    named = request.args.get("range", CHOSEN_BY_ITSELF)
    chosen = named if named in RANGES else CHOSEN_BY_ITSELF
    now = dt.datetime.now(dt.UTC)
    asked = TelemetryQuery.model_validate(
        {
            "start": (now - dt.timedelta(seconds=RANGES[chosen].length_s)).isoformat(),
            "end": now.isoformat(),
            "bucket": str(RANGES[chosen].row_s),
            "agg": "avg,min,max",
            "sample": True,
        }
    )
    found: dict[str, Any] | None = None
    async with spared(), services().telemetry_of(mine.tenant_id) as store:
        found = await series_of(store, DeviceKey(mine.tenant_id, device_id), asked)
    if found is None:
        return None
    more = {each["name"] for each in found["series"]} - set(said)
    told = {**said, **await said_of(mine.metrics, mine.tenant_id, more)}
    return {**found, "said": told, "ranges": RANGES, "chosen": chosen, "length_s": RANGES[chosen].length_s}
