"""Timers of a lane's devices: one heap entry a device, however often its deadline moves."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulse_core.records import DeviceKey


class Timers:
    """When each device wants to be woken. A message only moves a number; the heap is touched when a timer fires."""

    def __init__(self) -> None:
        self._wake_us: dict[DeviceKey, int] = {}
        self._armed_us: dict[DeviceKey, int] = {}
        self._heap: list[tuple[int, DeviceKey]] = []

    def set(self, key: DeviceKey, wake_us: int | None) -> None:
        """Wake ``key`` at ``wake_us``; None for never."""
        if wake_us is None:
            self._wake_us.pop(key, None)
            return
        self._wake_us[key] = wake_us
        armed_us = self._armed_us.get(key)
        if armed_us is None or wake_us < armed_us:
            self._armed_us[key] = wake_us
            heapq.heappush(self._heap, (wake_us, key))

    def next_us(self) -> int | None:
        """When the heap should be looked at next; maybe earlier than any device is due."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_us: int, limit: int) -> list[DeviceKey]:
        """Take up to ``limit`` devices whose time has come."""
        found: list[DeviceKey] = []
        while self._heap and self._heap[0][0] <= now_us and len(found) < limit:
            at_us, key = heapq.heappop(self._heap)
            if self._armed_us.get(key) != at_us:
                continue
            del self._armed_us[key]
            wake_us = self._wake_us.get(key)
            if wake_us is None:
                continue
            if wake_us > now_us:
                self.set(key, wake_us)
            else:
                del self._wake_us[key]
                found.append(key)
        return found
