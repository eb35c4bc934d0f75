"""Which metrics a tenant's devices sent lately: counted beside requests, for it may take long; believed for a while."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from pulse_core.api import Selection
from pulse_core.errors import PulseError
from pulse_core.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from pulse_core.api import TelemetryStore

log = structlog.get_logger(__name__)

DAYS: Final = 7
"""What was not sent for so long is no metric any more, unless something is said of it."""
BELIEVED_S: Final = 60.0
COUNTED_WITHIN_S: Final = 30.0
"""Longer than any store should take: then it is unknown, until it is counted anew."""
WAITED_S: Final = 0.25
"""So long a request waits for what is being counted."""
MOST_NAMES: Final = 2000
"""Devices may make up as many names as they like: those that most devices send are kept."""
_DAY_US = 86_400 * 1_000_000
_AHEAD_US = 11 * 60 * 1_000_000
"""A device's clock may run ahead of ours by a little less than this."""
_TENANTS = 200
_AT_ONCE = 2


class _Known(NamedTuple):
    """What was counted, when; None: it failed."""

    at: float
    devices: Mapping[str, int] | None


class MetricsSeen:
    """What is known in this process.

    :param telemetry_of: gives the store with the readings of one tenant.
    """

    def __init__(self, telemetry_of: Callable[[str], AbstractAsyncContextManager[TelemetryStore]]) -> None:
        self._telemetry_of = telemetry_of
        self._known: Remembered[str, _Known] = Remembered(_TENANTS)
        self._counting: dict[str, asyncio.Task[dict[str, int]]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def of(self, tenant_id: str) -> Mapping[str, int] | None:
        """Each metric, and how many devices sent it; None: that is not known (yet, or because it takes too long)."""
        known = self._known.get(tenant_id)
        if known is None or time.monotonic() - known.at > BELIEVED_S:
            await asyncio.wait({self._counting.get(tenant_id) or self._begin(tenant_id)}, timeout=WAITED_S)
            known = self._known.get(tenant_id)
        return known.devices if known is not None else None

    def counts(self, tenant_id: str) -> bool:
        """Whether it is being counted now."""
        return tenant_id in self._counting

    async def stop(self) -> None:
        """Leave off."""
        running = list(self._counting.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, tenant_id: str) -> asyncio.Task[dict[str, int]]:
        # In a context of its own: it is nobody's request.
        task = asyncio.get_running_loop().create_task(
            self._count(tenant_id), name=f"metrics of {tenant_id}", context=contextvars.Context()
        )
        self._counting[tenant_id] = task
        task.add_done_callback(lambda task: self._over(tenant_id, task))
        return task

    async def _count(self, tenant_id: str) -> dict[str, int]:
        async with self._room, asyncio.timeout(COUNTED_WITHIN_S), self._telemetry_of(tenant_id) as store:
            now_us = time.time_ns() // 1000
            found = await store.metrics_of(Selection(tenant_id, now_us - DAYS * _DAY_US, now_us + _AHEAD_US))
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0]))[:MOST_NAMES])

    def _over(self, tenant_id: str, task: asyncio.Task[dict[str, int]]) -> None:
        self._counting.pop(tenant_id, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            known = isinstance(error, PulseError | TimeoutError)
            log.warning("metrics.not_counted", tenant_id=tenant_id, error=str(error), exc_info=None if known else error)
        self._known.put(tenant_id, _Known(time.monotonic(), None if error is not None else task.result()))
