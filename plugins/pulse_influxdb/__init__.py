"""Readings in InfluxDB 3: a database a tenant, or one for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import hookimpl
from pulse_influxdb.store import InfluxTelemetryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_core.api import TelemetryStore


@hookimpl
def pulse_register_telemetry_stores() -> Iterable[type[TelemetryStore]]:
    """Readings in InfluxDB 3."""
    return (InfluxTelemetryStore,)
