"""Rolls readings up in the background, a little at a time, and tells how far behind that is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Gauge

from pulse_core.errors import PulseError
from pulse_postgres.telemetry.rolling_up import roll_up, waiting

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

log = structlog.get_logger(__name__)

WAITING = Gauge("pulse_rollups_waiting", "Hours of devices that are over and not rolled up yet (10000: or more)")
LAG = Gauge("pulse_rollups_lag_seconds", "For how long the oldest hour that is not rolled up could have been")

_EVERY_S = 60.0
_REST = 1.0
"""After each step, so many times as long is waited: messages that come in go first."""


class RollingUp:
    """Every minute, until nothing is left. Of several processes, one works. ``pool`` logs in as pulse_pipeline."""

    def __init__(self, pool: Connections, every_s: float = _EVERY_S) -> None:
        self._pool = pool
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background."""
        self._task = asyncio.create_task(self._run(), name="rolling up")

    async def stop(self) -> None:
        """End. What was begun is left undone, as a whole."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def once(self) -> int:
        """Roll up all that is due; return how many hours that was."""
        hours = 0
        while True:
            began = time.monotonic()
            step = await roll_up(self._pool)
            if not step.hours:
                break
            hours += step.hours
            await self._tell()
            await asyncio.sleep(_REST * (time.monotonic() - began))
        await self._tell()
        return hours

    async def _tell(self) -> None:
        left = await waiting(self._pool)
        WAITING.set(left.hours)
        LAG.set(left.lag_s)

    async def _run(self) -> None:
        while True:
            try:
                if hours := await self.once():
                    log.info("rollups.made", hours=hours)
            except PulseError as error:
                log.warning("rollups.failed", reason=str(error))
            except Exception:
                log.exception("rollups.failed")
            await asyncio.sleep(self._every_s)
