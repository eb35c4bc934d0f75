"""Failed logins cost the place they come from: beyond a rate its logins are refused unexamined. Pure: the time is
passed in.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pulse_mqtt.addresses import place_of

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey

MOST_PLACES: Final = 10_000
"""Places with failed logins that are remembered; beyond it, the one that failed longest ago is forgotten."""
MOST_FAMILIAR: Final = 50_000
"""Devices whose place is remembered; beyond it, the one that logged in longest ago is forgotten."""


class LoginThrottle:
    """A bucket of failures for each place. It is full at first, every failure takes one, and time gives back.

    A device whose last good login came from the very place is examined even so: behind one address there may be a
    factory, and one broken device is not to lock the others out.
    """

    def __init__(self, burst: int, per_s: float) -> None:
        """``burst``: failures at once; ``per_s``: given back. 0: nothing is throttled."""
        self._burst = float(burst)
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._familiar: OrderedDict[DeviceKey, str] = OrderedDict()

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._buckets) + len(self._familiar)

    def admits(self, address: str, key: DeviceKey, now_s: float) -> bool:
        """Whether a login is examined at all.

        :param now_s: a clock that never goes back, in seconds.
        """
        if not self._buckets:
            return True
        place = place_of(address)
        return self._left(place, now_s) >= 1 or self._familiar.get(key) == place

    def failed(self, address: str, now_s: float) -> None:
        """A login was examined, and is refused for what it showed."""
        if not self._per_s:
            return
        place = place_of(address)
        self._buckets[place] = (max(self._left(place, now_s) - 1, 0.0), now_s)
        self._buckets.move_to_end(place)
        if len(self._buckets) > MOST_PLACES:
            self._buckets.popitem(last=False)

    def welcomed(self, address: str, key: DeviceKey) -> None:
        """A device has logged in."""
        if not self._per_s:
            return
        self._familiar[key] = place_of(address)
        self._familiar.move_to_end(key)
        if len(self._familiar) > MOST_FAMILIAR:
            self._familiar.popitem(last=False)

    def _left(self, place: str, now_s: float) -> float:
        left, at_s = self._buckets.get(place, (self._burst, now_s))
        return min(self._burst, left + max(0.0, now_s - at_s) * self._per_s)
