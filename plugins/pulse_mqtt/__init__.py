"""Devices in over MQTT: a front door that acknowledges after the commit, not a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import hookimpl
from pulse_mqtt.listener import MqttIngester

if TYPE_CHECKING:
    from pulse_core.api import Ingester

__all__ = ["MqttIngester", "pulse_register_ingesters"]


@hookimpl
def pulse_register_ingesters() -> list[type[Ingester]]:
    """Contribute the listener."""
    return [MqttIngester]
