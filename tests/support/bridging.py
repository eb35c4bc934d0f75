"""A bridge at work, and a broker on loopback that does what the test says: MQTT 5 and 3.1.1, small and not strict."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_mqtt_bridge import BridgeIngester
from pulse_mqtt_bridge.config import BridgeConfig
from support import mqtt311 as mqtt
from support.waiting import until

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

TOKEN = "token-of-device-1"
TOPIC = "tenant/tenant-a/device/device-1/telemetry"
PUBACK, PUBREC, PUBCOMP, SUBSCRIBE, PINGREQ, DISCONNECT = 4, 5, 7, 8, 12, 14


class ScriptedBroker:
    """What it was sent is in ``heard`` (kind, body); the last connection is the one that :meth:`publish` means.

    ``greeting`` is the CONNACK's code (None: no answer, -1: hang up); ``granted`` is what SUBACK says;
    ``session_present`` is its claim; ``properties`` stand in an MQTT 5 CONNACK.
    """

    def __init__(self) -> None:
        self.greeting: int | None = 0
        self.granted = 1
        self.session_present = False
        self.properties = b""
        self.deaf = False
        self.heard: list[tuple[int, bytes]] = []
        self.logins: list[bytes] = []
        self.connections = 0
        self.ready = 0
        """Connections that have subscribed."""
        self.port = 0
        self._five = True
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def drop(self) -> None:
        """Cut the connection."""
        if self._writer is not None:
            self._writer.transport.abort()

    def write(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def publish(
        self,
        payload: bytes,
        topic: str | bytes = TOPIC,
        *,
        qos: int = 1,
        packet_id: int = 1,
        dup: bool = False,
        retain: bool = False,
    ) -> None:
        ident = (packet_id.to_bytes(2, "big") if qos else b"") + (b"\0" if self._five else b"")
        self.write(mqtt.packet(0x30 | dup << 3 | qos << 1 | retain, mqtt.text(topic) + ident + payload))

    def release(self, packet_id: int) -> None:
        """PUBREL."""
        self.write(b"\x62\x02" + packet_id.to_bytes(2, "big"))

    def acks(self, kind: int = PUBACK) -> list[int]:
        """Packet ids of what was acknowledged so."""
        return [int.from_bytes(body[:2], "big") for each, body in self.heard if each == kind]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        self._writer = writer
        with suppress(OSError, asyncio.IncompleteReadError):
            while await self._hear(reader, writer):
                pass
        writer.transport.abort()
        self._serving.discard(task)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, body = await mqtt.read_packet(reader)
        kind = first >> 4
        self.heard.append((kind, body))
        properties = mqtt.length(len(self.properties)) + self.properties if self._five else b""
        if kind == 1:
            self._five = body[6] == 5
            self.logins.append(body)
            if self.greeting == -1:
                return False
            if self.greeting is not None:
                properties = mqtt.length(len(self.properties)) + self.properties if self._five else b""
                head = bytes([self.session_present and not self.greeting, self.greeting])
                writer.write(mqtt.packet(0x20, head + properties))
        elif kind == SUBSCRIBE:
            writer.write(mqtt.packet(0x90, body[:2] + (b"\0" if self._five else b"") + bytes([self.granted])))
            self.ready += 1
        elif kind == PINGREQ and not self.deaf:
            writer.write(b"\xd0\x00")
        return kind != DISCONNECT


@asynccontextmanager
async def scripted_broker(tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    await broker.start(tls)
    try:
        yield broker
    finally:
        await broker.stop()


class Bridge:
    """A bridge at work, and its intake."""

    def __init__(self, ingester: BridgeIngester, intake: FakeIntake) -> None:
        self.ingester = ingester
        self.intake = intake
        self.doors = ingester.mounts(intake)
        self.task = asyncio.create_task(ingester.run(intake))

    async def up(self) -> None:
        await until(lambda: self.is_up or self.task.done(), what="the bridge")
        assert not self.task.done()

    @property
    def payloads(self) -> list[bytes]:
        """What is committed."""
        return [message.payload for message in self.intake.committed]

    @property
    def is_up(self) -> bool:
        return self.intake.receiving_log[-1:] == [True]

    async def stop(self) -> None:
        self.intake.stopping.set()
        await asyncio.wait_for(self.task, 15)


def config_for(port: int, **config: Any) -> BridgeConfig:
    usual = {"urls": (f"mqtt://127.0.0.1:{port}",), "trusted": True, "reconnect_first_s": 0.05}
    return BridgeConfig.model_validate({**usual, **config})


@asynccontextmanager
async def bridging(port: int, *, wait: bool = True, log: Any = None, **config: Any) -> AsyncIterator[Bridge]:
    intake = FakeIntake([known_device("tenant-a", "device-1", TOKEN), known_device("tenant-b", "device-1", "another")])
    services = LogOnly()
    if log is not None:
        services = _Logging(log)
    bridge = Bridge(BridgeIngester(config_for(port, **config), services), intake)
    try:
        if wait:
            await bridge.up()
        yield bridge
        await bridge.stop()
    finally:
        bridge.task.cancel()
        await asyncio.wait((bridge.task,))


class _Logging(LogOnly):
    """Lets a test see what is logged."""

    def __init__(self, log: Any) -> None:
        self._log = log

    @property
    def log(self) -> Any:
        return self._log
