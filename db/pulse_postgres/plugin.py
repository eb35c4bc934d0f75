"""What this distribution contributes through the plugin door: the default telemetry store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import hookimpl
from pulse_postgres.telemetry.store import PostgresTelemetryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_core.api import TelemetryStore


@hookimpl
def pulse_register_telemetry_stores() -> Iterable[type[TelemetryStore]]:
    """Readings in the database that everything else is in."""
    return (PostgresTelemetryStore,)
