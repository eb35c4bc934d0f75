"""Small drawings beside the devices of a list: how the first number of each went lately."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from pulse_core.api import DeviceKey
from pulse_core.series import is_number, numeric
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import StoredReading

READINGS = 20
"""So many of the newest are drawn,"""
_OVER_US = 24 * 3600 * 1_000_000
"""none older than this."""
_AHEAD_US = 11 * 60 * 1_000_000
_WIDTH, _HEIGHT, _EDGE = 100, 24, 2


class Spark(NamedTuple):
    """One drawing, and what it says."""

    metric: str
    points: str
    """As a ``polyline`` of SVG has them, within 100 by 24."""
    low: float
    high: float
    last: float


async def sparks_of(tenant_id: str, device_ids: Sequence[str]) -> dict[str, Spark]:
    """A drawing for each of these devices that sent numbers lately; one statement for all of them."""
    if not device_ids:
        return {}
    keys = [DeviceKey(tenant_id, each) for each in device_ids]
    now_us = time.time_ns() // 1000
    async with services().telemetry_of(tenant_id) as store:
        found = await store.recent(keys, since_us=now_us - _OVER_US, end_us=now_us + _AHEAD_US, limit=READINGS)
    drawn = {key.device_id: spark_of(readings) for key, readings in found.items()}
    return {device_id: spark for device_id, spark in drawn.items() if spark is not None}


def spark_of(readings: Sequence[StoredReading]) -> Spark | None:
    """Draw the first metric by name that the newest reading with any number has. Readings come newest first."""
    names = next((found for each in readings if (found := numeric([each.metrics]))), None)
    if names is None:
        return None
    values = [
        (each.ts_us, float(value))
        for each in reversed(readings)
        if (value := each.metrics.get(names[0])) is not None and is_number(value)
    ]
    low, high = min(value for _, value in values), max(value for _, value in values)
    return Spark(names[0], _points(values, low, high), low, high, values[-1][1])


def _points(values: Sequence[tuple[int, float]], low: float, high: float) -> str:
    first_us, last_us = values[0][0], values[-1][0]
    if first_us == last_us:
        return f"0,{_HEIGHT / 2:g} {_WIDTH},{_HEIGHT / 2:g}"
    return " ".join(
        f"{(at_us - first_us) * _WIDTH / (last_us - first_us):.1f},{_up(value, low, high):.1f}"
        for at_us, value in values
    )


def _up(value: float, low: float, high: float) -> float:
    part = (value - low) / (high - low) if high > low else 0.5
    return _HEIGHT - _EDGE - part * (_HEIGHT - 2 * _EDGE)
