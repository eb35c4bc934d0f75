"""The MQTT listener keeps the contract of ingesters."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pulse_core.testing.ingesters import DEVICE, IngesterContract, LogOnly, Sender, Served
from pulse_mqtt import MqttIngester
from pulse_mqtt.config import MqttConfig
from support import mqtt311 as mqtt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from pulse_core.api import Ingester


class _Device:
    """Publishes at QoS 1; the answer to a message is its PUBACK."""

    def __init__(self, client: mqtt.Client) -> None:
        self._client = client
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._last = 0
        self.listening = asyncio.create_task(self._listen())

    def send(self, payload: bytes) -> Awaitable[bool]:
        self._last += 1
        topic = f"tenant/{DEVICE.tenant_id}/device/{DEVICE.device_id}/telemetry"
        self._client.write(mqtt.publish(topic, payload, packet_id=self._last))
        future = self._waiting[self._last] = asyncio.get_running_loop().create_future()
        return future

    async def _listen(self) -> None:
        try:
            while True:
                answer = await self._client.read()
                assert answer[0] == 0x40
                self._waiting.pop(int.from_bytes(answer[2:], "big")).set_result(True)
        except ConnectionError as error:
            for future in self._waiting.values():
                future.set_exception(error)


class TestMqttContract(IngesterContract):
    def make(self) -> Ingester:
        return MqttIngester(MqttConfig(port=0), LogOnly())

    @asynccontextmanager
    async def device(self, served: Served, token: str) -> AsyncIterator[Sender]:
        address = served.ingester.addresses()["mqtt"]
        async with mqtt.logged_in(address, f"{DEVICE.tenant_id}/{DEVICE.device_id}", token) as client:
            device = _Device(client)
            try:
                yield device
            finally:
                device.listening.cancel()
