"""The bridge keeps the contract of ingesters with both versions of MQTT: what it owes devices, it owes the broker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.testing.ingesters import DEVICE, TOKEN, IngesterContract, LogOnly, Sender, Served
from pulse_mqtt_bridge import BridgeIngester
from support.bridging import PUBACK, PUBREC, ScriptedBroker, config_for, scripted_broker
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from pulse_core.api import Ingester

_TOPIC = f"tenant/{DEVICE.tenant_id}/device/{DEVICE.device_id}/telemetry"


class _Device:
    """A device behind the broker; the answer to a message is the bridge's PUBACK, or PUBREC, to the broker."""

    def __init__(self, broker: ScriptedBroker, qos: int) -> None:
        self._broker = broker
        self._qos = qos
        self._last = 0

    def send(self, payload: bytes) -> Awaitable[bool]:
        self._last += 1
        self._broker.publish(payload, _TOPIC, qos=self._qos, packet_id=self._last)
        return self._acknowledged(self._last)

    async def _acknowledged(self, packet_id: int) -> bool:
        kind = PUBACK if self._qos == 1 else PUBREC
        await until(lambda: packet_id in self._broker.acks(kind), every_s=0.005)
        return True


class _BridgeContract(IngesterContract):
    protocol = "5"
    qos = 1

    @pytest.fixture(autouse=True)
    async def _broker(self) -> AsyncIterator[None]:
        async with scripted_broker() as self.broker:
            yield

    def make(self) -> Ingester:
        return BridgeIngester(config_for(self.broker.port, protocol=self.protocol, qos=self.qos), LogOnly())

    @asynccontextmanager
    async def device(self, served: Served, token: str) -> AsyncIterator[Sender]:
        if token != TOKEN:
            raise ConnectionError("the operator says that his broker lets no stranger in")
        yield _Device(self.broker, self.qos)


class TestBridge5Contract(_BridgeContract):
    pass


class TestBridge5ContractAtQos2(_BridgeContract):
    qos = 2


class TestBridge311Contract(_BridgeContract):
    protocol = "3.1.1"
