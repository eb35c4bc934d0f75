"""The pipeline role: ways in, evaluation, commits. Its HTTP port is where devices post."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import structlog

from pulse_core.api import Ingester
from pulse_core.clock import SystemClock
from pulse_core.data_path import DataPath
from pulse_core.errors import ReadingsAway, StoreUnavailable
from pulse_core.intake.mailboxes import AT_ONCE
from pulse_core.notices import Board
from pulse_postgres.commands import PostgresCommands
from pulse_postgres.device_connections import PostgresDeviceConnections
from pulse_postgres.device_sessions import PostgresDeviceSessions
from pulse_postgres.intake import PostgresIntake
from pulse_postgres.lanes import PostgresLaneStores
from pulse_postgres.provisioning import Activation
from pulse_postgres.refusals import PostgresRefusals
from pulse_postgres.registry import PostgresRegistry
from pulse_postgres.routes import PostgresRoutes
from pulse_postgres.settings import PostgresSettings
from pulse_server.activation import PATH, ActivationApp
from pulse_server.device_http import DeviceRouter
from pulse_server.retention import Forgetful, Retention
from pulse_server.roles.base import Host, Role
from pulse_server.rolling_up import RollingUp
from pulse_server.services import Lender
from pulse_server.serving import HttpServer, bind
from pulse_server.telemetry import make_room, opened
from pulse_server.websocket_guard import GuardedWebSocket

if TYPE_CHECKING:
    from pulse_core.api import TelemetryStore

log = structlog.get_logger(__name__)

_INGESTERS_LEAVE_WITHIN_S = 6.5
_DRAIN_WITHIN_S = 1.5
_LISTEN_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.01
_ASK_STORE_EVERY_S = 1.0


class PipelineRole(Role):
    """From a device's message to the commit."""

    name: ClassVar[str] = "pipeline"
    login: ClassVar[str] = "pulse_pipeline"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lender = Lender(host.config)
        self._ingesters: list[Ingester] = []
        self._running: list[asyncio.Task[None]] = []
        self._data_path: DataPath | None = None
        self._activation = ActivationApp()
        self._router = DeviceRouter(self.health)
        self._server: HttpServer | None = None

    async def start(self) -> None:
        """Answer for our health at once; take messages in when everything is loaded."""
        sock = bind(self.host.config.device_http, "device_http")
        self._server = HttpServer(self._router, sock, websocket=GuardedWebSocket)
        await self._server.start()
        await self.database_ready()
        self._data_path = await self._assemble()
        await self._load(self._data_path)
        self.health.add("data path", self._data_path_reason)
        self.watch(self._data_path.died, "the data path")
        gc.freeze()  # what was loaded stays: the collector need not walk 100,000 devices again and again
        self._open_doors(self._data_path)
        addresses = await self._addresses()
        if self.failed.done():
            self.failed.result()
        self.announce({"http": self._server.url, **addresses})

    async def stop(self) -> None:
        """Stop accepting, commit, acknowledge, leave."""
        self.withdraw()
        if self._data_path is not None:
            self._data_path.stopping.set()
        leaving = [self._ingesters_left()]
        if self._server is not None:
            leaving.append(self._server.stop())
        await asyncio.gather(*leaving)
        if self._data_path is not None:
            await self._data_path.stop(_DRAIN_WITHIN_S)
        await self._lender.close()
        await self.resources.aclose()

    async def _assemble(self) -> DataPath:
        plugins, dsn = self.host.plugins, self.host.dsn(self.login)
        pool = await self.pool(self.login)
        self.health.add("database", self.answers(pool))
        self._activation.store = Activation(await self.pool("pulse_auth", max_size=2))
        registry = PostgresRegistry(pool, dsn)
        store = await self.resources.enter_async_context(opened(plugins, pool))
        await self._make_room(store, registry)
        settings = PostgresSettings(pool, dsn)
        commands = PostgresCommands(await self.pool(self.login, max_size=AT_ONCE, by_index=True), dsn)
        connections = PostgresDeviceConnections(await self.pool(self.login, max_size=1))
        sessions = PostgresDeviceSessions(await self.pool(self.login, max_size=2, by_index=True))
        forgetful: list[Forgetful] = [
            store,
            PostgresRefusals(pool),
            PostgresIntake(pool),
            commands,
            connections,
            sessions,
        ]
        retention = Retention(forgetful, settings)
        self.resources.push_async_callback(retention.stop)
        retention.start()
        if store.transactional:
            rolling_up = RollingUp(pool)
            self.resources.push_async_callback(rolling_up.stop)
            rolling_up.start()
        board = Board()
        self.tell(board, pool)
        return DataPath(
            self.host.config.pipeline,
            registry=registry,
            lane_stores=PostgresLaneStores(dsn, store),
            routes=PostgresRoutes(pool, dsn),
            settings=settings,
            commands=commands,
            connections=connections,
            sessions=sessions,
            evaluators=[cls(plugins.config_of(cls)) for cls in plugins.evaluators],
            clock=SystemClock(),
            told=board.note_writes,
            told_of_device=board.note_device,
        )

    async def _make_room(self, store: TelemetryStore, registry: PostgresRegistry) -> None:
        """See that every tenant has room for readings; the telemetry store may come and go meanwhile."""
        while not store.transactional:
            try:
                await make_room(store, await registry.tenant_ids())
            except ReadingsAway as error:
                self.health.hold("telemetry store", str(error))
                await asyncio.sleep(_ASK_STORE_EVERY_S)
            else:
                self.health.release("telemetry store")
                return

    async def _load(self, data_path: DataPath) -> None:
        """Load everything; the database may still come and go meanwhile."""
        while True:
            try:
                await data_path.start()
            except StoreUnavailable as error:
                self.health.hold("database", str(error))
                log.warning("pipeline.load_interrupted", reason=str(error))
                await data_path.stop(0)
                self.resources, old = AsyncExitStack(), self.resources
                await old.aclose()
                await self.database_ready()
                self._data_path = data_path = await self._assemble()
            else:
                return

    def _open_doors(self, data_path: DataPath) -> None:
        """Start every ingester and mount what each hands back for HTTP."""
        plugins = self.host.plugins
        mounts: list[tuple[str, Any]] = [(PATH, self._activation)]
        for cls in plugins.ingesters:
            ingester = cls(plugins.config_of(cls), self._lender.to(plugins.plugin_of(cls)))
            intake = data_path.intake(cls.name)
            mounts += ingester.mounts(intake).items()
            task = asyncio.create_task(ingester.run(intake), name=f"ingester {cls.name}")
            self.watch(task, f"ingester {cls.name}")
            self._ingesters.append(ingester)
            self._running.append(task)
        self._router.open(mounts)

    async def _addresses(self) -> dict[str, str]:
        """Where the ingesters listen; those that say so are waited for, because they still have to bind."""
        deadline = asyncio.get_running_loop().time() + _LISTEN_WITHIN_S
        while not self.failed.done() and asyncio.get_running_loop().time() < deadline:
            if all(ingester.addresses() for ingester in self._ingesters if _listens(ingester)):
                break
            await asyncio.sleep(_LOOK_EVERY_S)
        return {name: url for ingester in self._ingesters for name, url in ingester.addresses().items()}

    async def _data_path_reason(self) -> str | None:
        return "; ".join(self._data_path.not_ready_because()) or None if self._data_path else None

    async def _ingesters_left(self) -> None:
        if not self._running:
            return
        _, hanging = await asyncio.wait(self._running, timeout=_INGESTERS_LEAVE_WITHIN_S)
        for task in hanging:
            log.warning("ingester.hangs", task=task.get_name())
            task.cancel()
        if hanging:
            await asyncio.wait(hanging, timeout=1)


def _listens(ingester: Ingester) -> bool:
    """Whether it has addresses of its own to tell."""
    return type(ingester).addresses is not Ingester.addresses
