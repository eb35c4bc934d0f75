"""Rate limits of devices: the generic cell rate algorithm, one number a device.

The number is the time at which a device's sending so far would be paid off at the permitted rate. Charged after
authentication only, so nobody can empty another device's bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulse_core.records import DeviceKey

_SWEEP_ABOVE = 10_000
_US = 1_000_000


class Pacer:
    """Buckets of all devices. ``rps`` and ``burst`` are live settings."""

    def __init__(self, rps: float, burst: int) -> None:
        self.configure(rps, burst)
        self._paid_us: dict[DeviceKey, float] = {}
        self._sweep_at = _SWEEP_ABOVE

    def configure(self, rps: float, burst: int) -> None:
        """Take over changed settings; what was sent so far still counts."""
        self._cost_us = _US / rps
        self._credit_us = burst * self._cost_us

    def take(self, key: DeviceKey, now_us: int) -> float:
        """Charge one message if it fits; 0.0 then, else the seconds after which one will fit."""
        paid_us = max(self._paid_us.get(key, 0.0), now_us) + self._cost_us
        excess_us = paid_us - now_us - self._credit_us
        if excess_us > 0:
            return excess_us / _US
        self._set(key, paid_us, now_us)
        return 0.0

    def borrow(self, key: DeviceKey, count: int, now_us: int) -> float:
        """Charge ``count`` messages whatever it costs; return how long (s) to stop reading until it is paid off."""
        paid_us = max(self._paid_us.get(key, 0.0), now_us) + count * self._cost_us
        self._set(key, paid_us, now_us)
        return max(0.0, (paid_us - now_us - self._credit_us) / _US)

    def _set(self, key: DeviceKey, paid_us: float, now_us: int) -> None:
        self._paid_us[key] = paid_us
        if len(self._paid_us) > self._sweep_at:
            self._paid_us = {one: at for one, at in self._paid_us.items() if at > now_us}
            self._sweep_at = max(_SWEEP_ABOVE, 2 * len(self._paid_us))
