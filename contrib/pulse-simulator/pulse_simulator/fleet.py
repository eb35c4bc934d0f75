"""Who is in the fleet: the description that the fleet file holds, one record a device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from pathlib import Path

Way = Literal["mqtt", "http"]
Behaviour = Literal["steady", "goes_silent", "misbehaves", "flapping", "chatty"]

_TEXTS = ("tenant_id", "device_id", "site_id", "token")


class FleetError(ValueError):
    """The fleet file is wrong; the message says which device and what."""


@dataclass(frozen=True, slots=True)
class Member:
    """One device: its name, its place, its token, how it reaches the platform and how it behaves."""

    tenant_id: str
    device_id: str
    site_id: str
    token: str
    way: Way = "mqtt"
    behaviour: Behaviour = "steady"
    interval_s: float = 5.0

    @property
    def base(self) -> str:
        """The device's own part of every topic and path."""
        return f"tenant/{self.tenant_id}/device/{self.device_id}"


def read_fleet(path: Path) -> list[Member]:
    """Read a fleet file (see the README).

    :raises FleetError: it is not a list of devices as described there.
    """
    try:
        listed = json.loads(path.read_bytes())
    except ValueError as error:
        raise FleetError(f"{path} is not JSON: {error}") from error
    if not isinstance(listed, list):
        raise FleetError(f"{path} must hold a list of devices")
    return [_member(number, entry) for number, entry in enumerate(listed)]


def _member(number: int, entry: Any) -> Member:
    try:
        member = Member(**entry)
    except TypeError as error:
        raise FleetError(f"device {number}: {error}") from error
    for name in _TEXTS:
        if not isinstance(getattr(member, name), str):
            raise FleetError(f"device {number}: {name} must be text")
    if member.way not in get_args(Way):
        raise FleetError(f"device {number}: way is one of {', '.join(get_args(Way))}, not {member.way!r}")
    if member.behaviour not in get_args(Behaviour):
        known = ", ".join(get_args(Behaviour))
        raise FleetError(f"device {number}: behaviour is one of {known}, not {member.behaviour!r}")
    if not isinstance(member.interval_s, int | float) or member.interval_s <= 0:
        raise FleetError(f"device {number}: interval_s must be more than 0")
    return member
