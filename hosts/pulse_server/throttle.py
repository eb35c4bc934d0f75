"""A bound on how often one address may try something that can be guessed at."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

_REMEMBERED = 20_000
_OWED_AT_MOST = 5
"""Bursts."""


class Throttle:
    """A token bucket for each address; IPv6 callers count by their /64, for they own all of it."""

    def __init__(self, *, per_minute: float, burst: int) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Charge one try; return 0, or how long the address must wait for the next one."""
        key = _network(address)
        tokens, at = self._buckets.pop(key, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - at) * self._per_s)
        allowed = tokens >= 1
        self._keep(key, tokens - 1 if allowed else tokens, now_s)
        return 0.0 if allowed else (1 - tokens) / self._per_s

    def look_s(self, address: str, now_s: float) -> float:
        """As :meth:`wait_s`, and charge nothing."""
        tokens, at = self._buckets.get(_network(address), (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - at) * self._per_s)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._per_s

    def owe(self, address: str, now_s: float) -> None:
        """Charge what has happened already, into debt if need be: whoever tries many at once waits for them all."""
        key = _network(address)
        tokens, at = self._buckets.pop(key, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - at) * self._per_s)
        self._keep(key, max(tokens - 1, -_OWED_AT_MOST * self._burst), now_s)

    def _keep(self, key: str, tokens: float, now_s: float) -> None:
        self._buckets[key] = (tokens, now_s)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)


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
