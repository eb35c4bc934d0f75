"""Forgets readings that are older than the operator wants to keep."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from pulse_core.errors import PulseError

if TYPE_CHECKING:
    from pulse_core.api import TelemetryStore
    from pulse_core.ports import SettingsStore

log = structlog.get_logger(__name__)

_EVERY_S = 3600.0
_FIRST_AFTER_S = 60.0
_DAY_US = 86_400 * 1_000_000


class Retention:
    """Runs the telemetry store's retention every hour, by the live setting TELEMETRY_RETENTION_DAYS."""

    def __init__(self, store: TelemetryStore, settings: SettingsStore) -> None:
        self._store = store
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background."""
        self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def once(self, now_us: int) -> int:
        """Drop what is too old now; return how many units went."""
        settings = await self._settings.load()
        return await self._store.drop_before(now_us - settings.TELEMETRY_RETENTION_DAYS * _DAY_US)

    async def _run(self) -> None:
        await asyncio.sleep(_FIRST_AFTER_S)
        while True:
            try:
                if dropped := await self.once(time.time_ns() // 1000):
                    log.info("retention.dropped", units=dropped)
            except PulseError as error:
                log.warning("retention.failed", reason=str(error))
            await asyncio.sleep(_EVERY_S)
