"""Who takes part in the demo: two tenants, fifty devices of several tempers, and one device for you to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TENANTS = {"tenant-a": "Aurora Water", "tenant-b": "Borealis Cold Storage"}
STALE_AFTER_S = 15.0
"""Shorter than the default, so that something happens while you look."""

METRICS: dict[str, dict[str, Any]] = {
    "temp_c": {"unit": "°C", "description": "Of the air around the device", "low": -10, "high": 26},
    "humidity_pct": {"unit": "%", "description": "Of the air, relative", "low": 20, "high": 60},
    "battery_pct": {"unit": "%", "description": "Charge that is left", "low": 20},
    "rssi_dbm": {"unit": "dBm", "description": "Strength of the radio signal", "low": -80},
}
"""What the simulator's metrics are. Some devices are out of range now and then."""

_KINDS = {
    "tenant-a": (
        ("pump", "pumping-north"),
        ("valve", "pumping-south"),
        ("tank", "reservoir-1"),
        ("meter", "reservoir-2"),
        ("gate", "weir"),
    ),
    "tenant-b": (
        ("freezer", "hall-1"),
        ("chiller", "hall-2"),
        ("door", "dock-a"),
        ("probe", "dock-b"),
        ("truck", "yard"),
    ),
}
_EACH = 5
_TEMPERS = {3: "goes_silent", 8: "flapping", 11: "goes_silent", 14: "misbehaves", 18: "chatty", 22: "goes_silent"}
_HTTP = ("meter", "probe", "truck")


@dataclass(frozen=True)
class Member:
    """One simulated device."""

    tenant_id: str
    device_id: str
    site_id: str
    way: str
    behaviour: str
    interval_s: float


TRY_ME = Member("tenant-a", "try-me", "lab", "mqtt", "steady", 0)
"""A device that nobody simulates: it is yours."""


def fleet() -> list[Member]:
    """The simulated devices, 25 a tenant."""
    return [member for tenant in TENANTS for member in _of(tenant)]


def _of(tenant: str) -> list[Member]:
    members: list[Member] = []
    for kind, site in _KINDS[tenant]:
        for number in range(1, _EACH + 1):
            temper = _TEMPERS.get(len(members), "steady")
            way = "http" if kind in _HTTP else "mqtt"
            members.append(Member(tenant, f"{kind}-{number:02}", site, way, temper, 5.0))
    return members
