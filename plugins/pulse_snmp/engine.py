"""Who we are to the receivers of SNMPv3 traps, and what time it is for us (RFC 3411 section 5, RFC 3414 section 2).

For a trap the *sender* is the authoritative engine: the receiver derives the user's keys from our engine id, and
remembers the highest (boots, time) it has seen of it. A trap with fewer boots, or more than 150 seconds behind, is
thrown away without a word (RFC 3414 section 3.2 step 7b), and we would never know. So both numbers may only grow, for
one engine id, over restarts and over all the processes that send side by side.

A counter of process starts would break that: of two processes, the one that started first has fewer boots, and every
trap it sends after the other's first is lost. So our time is not a process's: the engine has been up since 2025, and
its time is the wall clock's. Every process and every host then says the same, and nothing needs to be counted or
stored. The engine id is drawn once, when an integration is made, and stored with it; ``engine_boots`` stands next to
it, for the one case that a clock cannot cover: after the hosts' clock has been set back and the processes were
started again, receivers refuse traps until the clock is where it was, unless a person raises that number by one.

For an INFORM the receiver is authoritative, and none of this matters.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH_S = 1_735_689_600
"""2025-01-01T00:00:00Z, when every engine of ours came up. 31 bits of seconds last until 2093."""

_ENTERPRISE = (0x80000000 | 99999).to_bytes(4, "big")
_OCTETS = b"\x05"  # RFC 3411, SnmpEngineID: "administratively assigned octets" follow
_MAX_TIME = 2**31 - 1


class Engine(Struct, frozen=True):
    """An SNMP engine at one moment; ``time_s`` counts from its last boot."""

    engine_id: bytes
    boots: int
    time_s: int


class EngineClock:
    """Seconds since the engine came up: as the wall clock, but never backwards while the process lives."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def seconds(self) -> int:
        """Return the engine's time. A clock that is set back is ignored; one that is set forward is followed."""
        steady = self._steady()
        self._offset = max(self._offset, self._wall() - steady)
        return min(max(int(steady + self._offset) - EPOCH_S, 0), _MAX_TIME)


def new_engine_id() -> str:
    """Draw an engine id, in hexadecimal: our enterprise, and 12 random bytes."""
    return (_ENTERPRISE + _OCTETS + secrets.token_bytes(12)).hex()


CLOCK = EngineClock()
"""The clock of this process."""
