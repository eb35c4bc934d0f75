"""Forgets readings, and the counts and copies of refused messages, that are older than the operator wants to keep."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from pulse_core.errors import PulseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.ports import SettingsStore

log = structlog.get_logger(__name__)

_EVERY_S = 3600.0
_FIRST_AFTER_S = 60.0
_DAY_US = 86_400 * 1_000_000


class Forgetful(Protocol):
    """Something that grows with time: a telemetry store, say."""

    async def drop_before(self, cutoff_us: int) -> int:
        """Forget what is older than ``cutoff_us``; return how many units (partitions, rows) went."""


class Retention:
    """Lets each store forget, every hour, by the live setting TELEMETRY_RETENTION_DAYS."""

    def __init__(self, stores: Sequence[Forgetful], settings: SettingsStore) -> None:
        self._stores = stores
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
        """Drop what is too old now; return how many units went. A store that cannot keeps no other from it."""
        settings = await self._settings.load()
        cutoff_us = now_us - settings.TELEMETRY_RETENTION_DAYS * _DAY_US
        dropped = 0
        for store in self._stores:
            try:
                dropped += await store.drop_before(cutoff_us)
            except (PulseError, OSError) as error:
                log.warning("retention.failed", store=type(store).__name__, reason=str(error))
        return dropped

    async def _run(self) -> None:
        await asyncio.sleep(_FIRST_AFTER_S)
        while True:
            try:
                if dropped := await self.once(time.time_ns() // 1000):
                    log.info("retention.dropped", units=dropped)
            except PulseError as error:
                log.warning("retention.failed", reason=str(error))
            await asyncio.sleep(_EVERY_S)
