"""Readings for tests of telemetry stores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import DeviceKey, MsgType, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.records import MetricValue

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
DEVICE = DeviceKey("tenant-a", "pump-7")
OTHER_DEVICE = DeviceKey("tenant-a", "pump-8")
OTHER_TENANT = DeviceKey("tenant-b", "pump-7")

HOSTILE_NAMES = (
    *("time", "device_id", "select", "null", "temp", "Temp", "TEMP"),
    *("a.b", "a:b", "a_b", "a-b", "--", "-", ".", "_", "1", "1e3", "x" * 64),
    'it\'s "odd" %s $1',
)
"""Names of metrics that mean something elsewhere. The last is none that a device may send."""
NO_NAMES = (
    "no",
    "",
    "'",
    '"',
    "\\",
    "temp'--",
    "new\nline",
    "{0} :a ?",
    "metrics",
    "温度",
    "tem",
    "temp ",
    "%",
    "x" * 65,
)
"""What may be asked for, and is nowhere."""


def a_reading(ts_us: int, device: DeviceKey = DEVICE, **changes: Any) -> Reading:
    """Return a telemetry reading of ``device``, changed as you say. Its ``key_hash`` is its ``ts_us``."""
    reading = Reading(
        device=device,
        ts_us=ts_us,
        key_hash=ts_us,
        received_us=ts_us,
        msg_type=MsgType.TELEMETRY,
        site_id="site-1",
        seq=None,
        metrics={},
        metrics_json="{}",
        source="http",
    )
    return msgspec.structs.replace(reading, **changes)


def saying(ts_us: int, device: DeviceKey, metrics: Mapping[str, MetricValue], **changes: Any) -> Reading:
    """Return a reading with these metrics, changed as you say."""
    return a_reading(
        ts_us, device, metrics=dict(metrics), metrics_json=msgspec.json.encode(metrics).decode(), **changes
    )


def now_us() -> int:
    """What time it is."""
    return time.time_ns() // 1000
