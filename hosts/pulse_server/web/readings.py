"""A device's readings in JSON: a page of them, and the latest value of each metric."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from pulse_postgres.paging import read_cursor, write_cursor

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey, StoredReading, TelemetryStore
    from pulse_server.inputs import TelemetryQuery

LATEST_OF = 50
"""The latest values are looked for in so many of the newest readings."""

_AHEAD_US = 11 * 60 * 1_000_000
"""A device's clock may run ahead of ours by a little less than this."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


async def readings_page(store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery) -> dict[str, Any]:
    """Readings of one device, newest first, in [start, end): ``{"items": […], "next": cursor | null}``.

    Readings of one ``ts`` are never parted, so a page may be a little longer than ``limit``.
    """
    found, cursor = await readings_found(store, key, asked)
    return {"items": [shown(each) for each in found], "next": cursor}


async def readings_found(
    store: TelemetryStore, key: DeviceKey, asked: TelemetryQuery
) -> tuple[list[StoredReading], str | None]:
    """As :func:`readings_page`: the readings, and the cursor."""
    after = read_cursor(asked.cursor, tuple[int])
    start_us, end_us = span_of(asked.begins, asked.ends)
    readings = await store.history(
        key,
        start_us=start_us,
        end_us=end_us,
        limit=asked.limit,
        before_us=after[0] if after else None,
        msg_types=[asked.msg_type] if asked.msg_type else None,
    )
    more = len(readings) >= asked.limit
    return readings, write_cursor(readings[-1].ts_us) if more else None


def span_of(begins: dt.datetime | None, ends: dt.datetime | None) -> tuple[int, int]:
    """A time in microseconds; without a beginning or an end, from the first reading, or to the latest."""
    return _us(begins, 0), _us(ends, _latest_us())


async def newest_readings(store: TelemetryStore, key: DeviceKey, limit: int = LATEST_OF) -> list[StoredReading]:
    """The newest readings of one device, newest first."""
    return await store.history(key, start_us=0, end_us=_latest_us(), limit=limit)


def latest_values(readings: list[StoredReading]) -> dict[str, dict[str, Any]]:
    """The latest value of each metric and its time, of readings that come newest first."""
    found: dict[str, dict[str, Any]] = {}
    for reading in readings:
        for name, value in reading.metrics.items():
            found.setdefault(name, {"value": value, "ts": _iso(reading.ts_us)})
    return dict(sorted(found.items()))


def shown(reading: StoredReading) -> dict[str, Any]:
    """One reading, for JSON."""
    return {
        "ts": _iso(reading.ts_us),
        "received_at": _iso(reading.received_us),
        "msg_type": reading.msg_type,
        "site_id": reading.site_id,
        "seq": reading.seq,
        "metrics": reading.metrics,
    }


def _latest_us() -> int:
    return time.time_ns() // 1000 + _AHEAD_US


def _us(moment: dt.datetime | None, default: int) -> int:
    """Microseconds since the epoch."""
    return default if moment is None else (moment - _EPOCH) // dt.timedelta(microseconds=1)


def _iso(at_us: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=at_us)
