"""What callers want changed of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_postgres.device_requests import DeviceChanges

if TYPE_CHECKING:
    from pulse_server.inputs import DevicePatch


def changes_of(wanted: DevicePatch) -> DeviceChanges:
    """Of a body: what it does not mention stays."""
    return DeviceChanges(**wanted.model_dump(exclude_unset=True))
