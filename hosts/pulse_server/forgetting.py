"""Forgets idempotency keys that are older than a day, in the background."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core.errors import PulseError
from pulse_postgres.request_keys import forget

if TYPE_CHECKING:
    import asyncpg

log = structlog.get_logger(__name__)

_EVERY_S = 600.0


class Forgetting:
    """Every ten minutes. Several processes may do it at once. ``pool`` logs in as pulse_admin."""

    def __init__(self, pool: asyncpg.Pool[Any], every_s: float = _EVERY_S) -> None:
        self._pool = pool
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="forgetting")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                if gone := await forget(self._pool):
                    log.info("request_keys.forgotten", keys=gone)
            except PulseError as error:
                log.warning("request_keys.not_forgotten", reason=str(error))
