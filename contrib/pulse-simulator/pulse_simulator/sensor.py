"""What a device measures: random walks around a daily shape, as a real room, battery and radio would show."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt

    from pulse_simulator.fleet import Member

_DAY_S = 86_400
_EMPTY_PCT = 5
_WARMEST_S = 15 * 3600
"""Rooms are warmest in the middle of the afternoon (UTC will do)."""


@dataclass(slots=True)
class Walk:
    """A value that drifts by up to ``step`` a reading and is pulled back towards 0."""

    step: float
    value: float = 0.0

    def next(self, chance: random.Random) -> float:
        """Take one step."""
        self.value = 0.97 * self.value + chance.uniform(-self.step, self.step)
        return self.value


@dataclass(slots=True)
class Sensor:
    """One device's instruments. ``chance`` is seeded with its name, so a fleet looks alike at every start."""

    member: Member
    chance: random.Random = field(init=False)
    seq: int = 0
    battery: float = field(init=False)
    _mean_temp: float = field(init=False)
    _mean_rssi: float = field(init=False)
    _temp: Walk = field(default_factory=lambda: Walk(0.15))
    _humidity: Walk = field(default_factory=lambda: Walk(0.8))
    _rssi: Walk = field(default_factory=lambda: Walk(1.5))

    def __post_init__(self) -> None:
        self.chance = random.Random(self.member.base)
        self.battery = self.chance.uniform(55, 100)
        self._mean_temp = self.chance.uniform(17, 24)
        self._mean_rssi = self.chance.uniform(-85, -50)

    def read(self, now: dt.datetime) -> dict[str, Any]:
        """Measure: the whole body of one message, with its own time and number."""
        self.seq += 1
        self.battery = 100.0 if self.battery < _EMPTY_PCT else self.battery - self.chance.uniform(0, 0.01)
        seconds = now.timestamp() % _DAY_S
        daily = math.cos(2 * math.pi * (seconds - _WARMEST_S) / _DAY_S)
        return {
            "ts": now.isoformat(timespec="milliseconds"),
            "site_id": self.member.site_id,
            "seq": self.seq,
            "metrics": {
                "temp_c": round(self._mean_temp + 3 * daily + self._temp.next(self.chance), 2),
                "humidity_pct": round(min(100, max(0, 48 - 8 * daily + self._humidity.next(self.chance))), 1),
                "battery_pct": round(self.battery, 1),
                "rssi_dbm": round(self._mean_rssi + self._rssi.next(self.chance)),
            },
        }


def encode(body: dict[str, Any]) -> bytes:
    """Write a body as it goes over the wire."""
    return json.dumps(body, separators=(",", ":")).encode()
