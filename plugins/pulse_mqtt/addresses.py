"""Where connections come from, as far as it can be told: an IPv4 address, or the /64 of an IPv6 address.

Whoever has an IPv6 address has the 2**64 others beside it, too.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_HOST_BITS: Final = 64


def place_of(address: str) -> str:
    """What to count an address by. One that is none (of a socket without addresses) stands for itself."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)}/64"


class Crowd:
    """How many connections there are from each place."""

    def __init__(self, at_most: int) -> None:
        """``at_most`` from one place; 0 for any number."""
        self._at_most = at_most
        self._here: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._here)

    def enter(self, address: str) -> bool:
        """Count a new connection. False: there are too many, and this one is not counted."""
        if not self._at_most:
            return True
        place = place_of(address)
        here = self._here.get(place, 0)
        if here >= self._at_most:
            return False
        self._here[place] = here + 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was counted has ended."""
        if not self._at_most:
            return
        place = place_of(address)
        left = self._here[place] - 1
        if left:
            self._here[place] = left
        else:
            del self._here[place]
