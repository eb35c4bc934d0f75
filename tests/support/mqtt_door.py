"""A running MQTT listener over an intake in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_mqtt import MqttIngester
from pulse_mqtt.config import MqttConfig
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "token-of-device-1"
ALIAS = "tenant-a/device-1"
TOPIC = "tenant/tenant-a/device/device-1/telemetry"
BODY = b'{"site_id":"site-1"}'
ACCEPTED = b"\x20\x02\x00\x00"


class Door:
    """A listener at work, and its intake."""

    def __init__(self, ingester: MqttIngester, intake: FakeIntake, task: asyncio.Task[None]) -> None:
        self.ingester = ingester
        self.intake = intake
        self.task = task

    @property
    def address(self) -> str:
        return self.ingester.addresses()["mqtt"]

    async def stop(self) -> None:
        self.intake.stopping.set()
        await asyncio.wait_for(self.task, 15)


@asynccontextmanager
async def door(**config: Any) -> AsyncIterator[Door]:
    intake = FakeIntake([known_device("tenant-a", "device-1", TOKEN), known_device("tenant-b", "device-1", "another")])
    ingester = MqttIngester(MqttConfig(**{"port": 0, **config}), LogOnly())
    opened = Door(ingester, intake, asyncio.create_task(ingester.run(intake)))
    try:
        await until(lambda: intake.receiving_log or opened.task.done())
        yield opened
        await opened.stop()
    finally:
        opened.task.cancel()
        await asyncio.wait((opened.task,))
