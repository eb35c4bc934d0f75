"""The web process's part in notices: it hears what all processes tell, and tells what it changed itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core.errors import StoreUnavailable
from pulse_postgres.notices import Teller, hear

if TYPE_CHECKING:
    import asyncpg

    from pulse_core.notices import Board
    from pulse_server.notices.hub import Hub

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5


class Post:
    """Runs beside the server. ``dsn`` and ``pool``: of any of our roles."""

    def __init__(self, hub: Hub, board: Board, pool: asyncpg.Pool[Any], dsn: str) -> None:
        self._hub = hub
        self._dsn = dsn
        self._teller = Teller(pool, board)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> list[asyncio.Task[None]]:
        """Begin; neither task ever ends by itself."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._hear(), name="notices heard"),
            loop.create_task(self._teller.run(), name="notices told"),
        ]
        return self._tasks

    async def stop(self) -> None:
        """End both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear(self) -> None:
        while True:
            try:
                async for found in hear(self._dsn):
                    self._hub.heard(found)
            except StoreUnavailable as error:
                log.warning("notices.lost", reason=str(error))
            await asyncio.sleep(_AGAIN_S)
