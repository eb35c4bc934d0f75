"""Devices in through an MQTT broker that somebody already runs, and the doors that such a broker asks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import hookimpl
from pulse_mqtt_bridge.bridge import BridgeIngester

if TYPE_CHECKING:
    from pulse_core.api import Ingester

__all__ = ["BridgeIngester", "pulse_register_ingesters"]


@hookimpl
def pulse_register_ingesters() -> list[type[Ingester]]:
    """Contribute the bridge."""
    return [BridgeIngester]
