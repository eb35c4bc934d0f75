"""A data path over the in-memory twins, that a test starts, stops and ages like a process."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

from pulse_core.config import PipelineConfig
from pulse_core.data_path import DataPath
from pulse_core.records import AlertEvent, DeviceKey, DeviceStatus, Outcome, RawMessage, Route
from pulse_core.testing.commands import MemoryCommands
from pulse_core.testing.sessions import MemorySessions
from pulse_heartbeat import HeartbeatConfig, HeartbeatEvaluator
from support.memory import (
    ManualClock,
    MemoryConnections,
    MemoryDatabase,
    MemoryRegistry,
    MemoryRoutes,
    MemorySettings,
    a_device,
)

if TYPE_CHECKING:
    from pulse_core.api import Evaluator, Intake
    from pulse_core.ports import LaneStores


class House:
    """A data path, its database and its clock; can be stopped and started again like a process."""

    def __init__(self, **config: Any) -> None:
        self.config = PipelineConfig(**{"lanes": 2, "idle_wait_ms": 0, **config})
        self.clock = ManualClock()
        self.database = MemoryDatabase()
        self.lane_stores: LaneStores = self.database
        self.registry = MemoryRegistry(*(a_device(f"dev-{number}") for number in range(1, 6)))
        self.settings = MemorySettings()
        self.commands = MemoryCommands(self.clock.now_us)
        self.connections = MemoryConnections()
        self.sessions = MemorySessions()
        self.routes = MemoryRoutes(
            Route("tenant-a", uuid.uuid4(), uuid.uuid4(), deliver_on=frozenset({"OPEN", "CLOSED"}))
        )
        self.evaluators: list[Evaluator[Any]] = [HeartbeatEvaluator(HeartbeatConfig())]
        self.path: DataPath
        self.intake: Intake

    async def start(self, *, receiving: bool = True) -> None:
        self.path = DataPath(
            self.config,
            registry=self.registry,
            lane_stores=self.lane_stores,
            routes=self.routes,
            settings=self.settings,
            commands=self.commands,
            connections=self.connections,
            sessions=self.sessions,
            evaluators=self.evaluators,
            clock=self.clock,
        )
        await self.path.start()
        self.intake = self.path.intake("test")
        if receiving:
            self.intake.receiving(True)

    async def stop(self) -> None:
        await self.path.stop()

    def message(self, device_id: str = "dev-1", **changes: Any) -> RawMessage:
        fields = changes.pop("fields", {"metrics": {"v": 1}})
        options = {
            "payload": json.dumps({"site_id": "site-1", **fields}).encode(),
            "received_us": self.clock.now_us(),
            "authenticated": True,
            "may_wait": True,
            **changes,
        }
        return RawMessage(tenant_id="tenant-a", device_id=device_id, msg_type="telemetry", source="test", **options)

    async def send(self, *messages: RawMessage) -> list[Outcome]:
        return await asyncio.wait_for(asyncio.ensure_future(self.intake.submit(messages)), 10)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass as it does for a process that runs: in steps, with beats between."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.path.world.ears.beat()
        for lane in self.path.lanes:
            lane._arrived.set()
        for _ in range(20):
            await asyncio.sleep(0)

    def status(self, device_id: str = "dev-1") -> DeviceStatus:
        return self.database.states[DeviceKey("tenant-a", device_id)].status

    def opened(self) -> int:
        return sum(event is AlertEvent.OPEN for event, _, _ in self.database.events)
