"""A listener over an intake in memory, and a device of MQTT 5 that is logged in."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.api import DeviceKey
from support.mqtt5_device import Device5, device5
from support.mqtt_door import ALIAS, TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.mqtt5_packets import Property
    from support.mqtt_door import Door

KEY = DeviceKey("tenant-a", "device-1")
OWN = "tenant/tenant-a/device/device-1/"
COMMANDS = OWN + "cmd/#"
FOREIGN = "tenant/tenant-b/device/device-1/telemetry"


@asynccontextmanager
async def at(here: Door, client_id: str = "client-1", *pairs: Property, **more: Any) -> AsyncIterator[Device5]:
    """The device with this client id and these properties in its CONNECT, logged in."""
    async with device5(here.address, ALIAS, TOKEN, client_id, *pairs, **more) as device:
        yield device
