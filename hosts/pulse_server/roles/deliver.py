"""The deliver role: channels. Its own small port tells its health and metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from pulse_core.clock import SystemClock
from pulse_core.delivery import Channels, DeliveryEngine
from pulse_core.notices import Board
from pulse_postgres.delivery.outbox import PostgresDeliveries
from pulse_server.device_http import DeviceRouter
from pulse_server.roles.base import Host, Role
from pulse_server.services import Lender
from pulse_server.serving import HttpServer, bind

if TYPE_CHECKING:
    import asyncpg

_LEAVE_WITHIN_S = 8.0


class DeliverRole(Role):
    """From the outbox to the receivers."""

    name: ClassVar[str] = "deliver"
    login: ClassVar[str] = "pulse_deliver"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lender = Lender(host.config)
        self._server: HttpServer | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answer for our health at once; deliver when the database is there."""
        router = DeviceRouter(self.health)
        self._server = HttpServer(router, bind(self.host.config.metrics_deliver, "metrics_deliver"))
        await self._server.start()
        await self.database_ready()
        pool = await self.pool(self.login, by_index=True)
        self._running = asyncio.create_task(self._engine(pool).run(self._stopping), name="delivery")
        self.watch(self._running, "delivery engine")
        self.health.add("database", self.answers(pool))
        router.open([])
        self.announce({"health": self._server.url})

    async def stop(self) -> None:
        """Finish the attempts that run, give the rest back."""
        self.withdraw()
        self._stopping.set()
        if self._running is not None:
            _, hanging = await asyncio.wait({self._running}, timeout=_LEAVE_WITHIN_S)
            for task in hanging:
                task.cancel()
        if self._server is not None:
            await self._server.stop()
        await self._lender.close()
        await self.resources.aclose()

    def _engine(self, pool: asyncpg.Pool[Any]) -> DeliveryEngine:
        host = self.host
        channels = Channels(host.plugins.channels, host.plugins.config_of, host.box, self._lender.to)
        board = Board()
        self.tell(board, pool)
        store = PostgresDeliveries(pool, host.dsn(self.login), board)
        return DeliveryEngine(
            store, channels, host.config.delivery, clock=SystemClock(), leave_within_s=_LEAVE_WITHIN_S - 1
        )
