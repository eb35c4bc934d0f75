"""The data path put together: directory, lanes, pipeline and intake, started and stopped as one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core.errors import StoreUnavailable
from pulse_core.intake.desk import Desk
from pulse_core.intake.directory import Directory
from pulse_core.intake.gate import Gate
from pulse_core.intake.logbook import Logbook
from pulse_core.intake.mailboxes import Mailboxes
from pulse_core.intake.pacing import Pacer
from pulse_core.intake.sessions import SessionKeeper
from pulse_core.lanes.lane import Lane
from pulse_core.lanes.listening import Ears
from pulse_core.pipeline import Pipeline, World
from pulse_core.records import PARTITIONS, Device, DeviceKey, Route, WriteSet, partition_of
from pulse_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from pulse_core.api import Evaluator, Intake
    from pulse_core.config import PipelineConfig
    from pulse_core.ports import (
        Clock,
        CommandStore,
        ConnectionStore,
        DeviceRegistry,
        LaneStores,
        RouteStore,
        SessionStore,
        SettingsStore,
    )

log = structlog.get_logger(__name__)
_RETRY_S = 0.5


class DataPath:
    """Everything between a way in and the commit. Start it, give each ingester its :meth:`intake`, stop it."""

    def __init__(
        self,
        config: PipelineConfig,
        *,
        registry: DeviceRegistry,
        lane_stores: LaneStores,
        routes: RouteStore,
        settings: SettingsStore,
        commands: CommandStore,
        connections: ConnectionStore,
        sessions: SessionStore,
        evaluators: Sequence[Evaluator[Any]],
        clock: Clock,
        told: Callable[[WriteSet], None] | None = None,
        told_of_device: Callable[[DeviceKey], None] | None = None,
    ) -> None:
        """``told``: is told of every batch that was committed.

        ``told_of_device``: of every device about whose connections or commands something was.
        """
        self._config = config
        self._lane_stores = lane_stores
        self._routes = routes
        self._settings = settings
        self._clock = clock
        self.directory = Directory(registry, clock)
        self._ears = Ears(clock)
        self.world = World(self.directory, evaluators, self._ears, Settings())
        self._pacer = Pacer(self.world.settings.RATE_LIMIT_RPS, self.world.settings.RATE_LIMIT_BURST)
        pipeline = Pipeline(self.world, clock, told)
        self._gate = Gate(config)
        first = lane_stores.readings_first
        self.lanes = [
            Lane(shard, config, pipeline, self._gate, clock, readings_first=first)
            for shard in range(config.lanes_for(readings_first=first))
        ]
        self._stopping = asyncio.Event()
        self._mailboxes = Mailboxes(commands, told_of_device)
        self._logbook = Logbook(connections, clock, told_of_device)
        self._sessions = SessionKeeper(sessions, clock)
        self._tasks: list[asyncio.Task[None]] = []
        self.ready = False
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception of a background task that ended: nothing can be promised any more, so the process ends."""

    def intake(self, source: str) -> Intake:
        """The intake of the ingester called ``source``."""
        parts = (self._gate, self._pacer, self._clock, self._stopping, self._mailboxes, self._logbook, self._sessions)
        return Desk(source, self.world, self.lanes, *parts)

    def not_ready_because(self) -> list[str]:
        """Why :attr:`ready` is false or nothing can be committed; empty when all is well."""
        reasons = [] if self.ready else ["starting: the registry and the lanes are being loaded"]
        return reasons + self._gate.outage_reasons

    async def start(self) -> None:
        """Load settings, routes, registry and state; then serve. Waits for a former owner of the lanes to end."""
        await self._load_settings()
        await self._load_routes()
        self._spawn(self.directory.follow(), "directory")
        self._spawn(self._follow(self._settings.changes, self._load_settings), "settings")
        self._spawn(self._follow(self._routes.changes, self._load_routes), "routes")
        self._spawn(self._mailboxes.follow(), "commands")
        self._spawn(self._mailboxes.let_go(self._stopping), "commands' end")
        await self.directory.loaded.wait()
        await asyncio.gather(*(self._open(lane) for lane in self.lanes))
        await self._logbook.settle()
        self._spawn(self._logbook.run(), "connections")
        await self._sessions.settle()
        self._spawn(self._sessions.run(), "sessions")
        self.directory.on_change(self._device_changed)
        self._ears.on_recovery(self._hear_again)
        self._ears.gap_ended()
        self._spawn(self._ears.watch_loop(), "ears")
        for lane in self.lanes:
            self._spawn(lane.run(), f"lane {lane.shard}")
        self.ready = True

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the ingesters must stop accepting."""
        return self._stopping

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Commit what was taken in, then give everything back. The ingesters have returned already."""
        self._stopping.set()
        self.ready = False
        if self._tasks and not self.died.done():
            drained = asyncio.gather(*(lane.idle() for lane in self.lanes))
            try:
                await asyncio.wait_for(drained, timeout_s)
            except TimeoutError:
                log.warning("stop.undrained", undecided=self._gate.messages)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await asyncio.gather(self._logbook.close(), self._sessions.close())
        for lane in self.lanes:
            await lane.close()

    async def _open(self, lane: Lane) -> None:
        partitions = range(lane.shard, PARTITIONS, len(self.lanes))
        await lane.open(await self._lane_stores.open(lane.shard, list(partitions)))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def _follow(self, changes: Callable[[], AsyncIterator[None]], reload: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                async for _ in changes():
                    await reload()
            except StoreUnavailable as error:
                log.warning("follow.lost", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def _load_settings(self) -> None:
        self.world.settings = await self._settings.load()
        self._pacer.configure(self.world.settings.RATE_LIMIT_RPS, self.world.settings.RATE_LIMIT_BURST)

    async def _load_routes(self) -> None:
        found: dict[str, list[Route]] = {}
        for route in await self._routes.load():
            found.setdefault(route.tenant_id, []).append(route)
        self.world.routes = found

    def _device_changed(self, key: DeviceKey, _before: Device | None, _after: Device | None) -> None:
        self.lanes[partition_of(key.tenant_id, key.device_id) % len(self.lanes)].changed(key)

    def _hear_again(self) -> None:
        for lane in self.lanes:
            lane.hear_again()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.died.done():
            self.ready = False
            self.died.set_exception(error)
