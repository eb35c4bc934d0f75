"""A bound on how often one address may try something that can be guessed at."""

from __future__ import annotations

import ipaddress

from pulse_core.remembered import Remembered

_REMEMBERED = 20_000
_OWED_AT_MOST = 5
"""Bursts."""


class Throttle:
    """A token bucket for each address; IPv6 callers count by their /64, for they own all of it."""

    def __init__(self, *, per_minute: float, burst: int) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._buckets: Remembered[str, tuple[float, float]] = Remembered(_REMEMBERED)

    def wait_s(self, address: str, now_s: float) -> float:
        """Charge one try; return 0, or how long the address must wait for the next one."""
        key = _network(address)
        tokens = self._tokens(key, now_s)
        allowed = tokens >= 1
        self._buckets.put(key, (tokens - 1 if allowed else tokens, now_s))
        return 0.0 if allowed else (1 - tokens) / self._per_s

    def look_s(self, address: str, now_s: float) -> float:
        """As :meth:`wait_s`, and charge nothing."""
        tokens = self._tokens(_network(address), now_s)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._per_s

    def owe(self, address: str, now_s: float) -> None:
        """Charge what has happened already, into debt if need be: whoever tries many at once waits for them all."""
        key = _network(address)
        self._buckets.put(key, (max(self._tokens(key, now_s) - 1, -_OWED_AT_MOST * self._burst), now_s))

    def _tokens(self, key: str, now_s: float) -> float:
        tokens, at = self._buckets.get(key) or (float(self._burst), now_s)
        return min(self._burst, tokens + (now_s - at) * self._per_s)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return address
