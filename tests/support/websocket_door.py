"""A running MQTT listener with its WebSocket on a device HTTP port as the product serves it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.config import Listen
from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_mqtt import MqttIngester
from pulse_mqtt.config import MqttConfig
from pulse_server.device_http import DeviceRouter
from pulse_server.health import Health
from pulse_server.serving import HttpServer, bind
from pulse_server.websocket_guard import GuardedWebSocket
from support.mqtt_door import TOKEN
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class WebDoor:
    """A listener at work, its intake, and the port of its WebSocket."""

    def __init__(self, intake: FakeIntake, port: int, running: asyncio.Task[None], server: HttpServer) -> None:
        self.intake = intake
        self.port = port
        self._running = running
        self._server = server

    async def stop(self) -> None:
        """As the pipeline stops: both at once."""
        self.intake.stopping.set()
        await asyncio.wait_for(asyncio.gather(self._running, self._server.stop()), 20)


@asynccontextmanager
async def web_door(
    mounts: Sequence[tuple[str, Any]] = (), send_buffer: int | None = None, **config: Any
) -> AsyncIterator[WebDoor]:
    """``mounts``: what else is served on the port. ``send_buffer``: bytes that the system keeps for a peer."""
    intake = FakeIntake([known_device("tenant-a", "device-1", TOKEN), known_device("tenant-b", "device-1", "another")])
    ingester = MqttIngester(MqttConfig(**{"port": 0, **config}), LogOnly())
    router = DeviceRouter(Health("pipeline"))
    sock = bind(Listen(port=0), "test")
    if send_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server = HttpServer(router, sock, websocket=GuardedWebSocket)
    await server.start()
    mount = ingester.asgi(intake)
    router.open([*mounts, *([mount] if mount else [])])
    here = WebDoor(intake, sock.getsockname()[1], asyncio.create_task(ingester.run(intake)), server)
    try:
        await until(lambda: intake.receiving_log)
        yield here
    finally:
        await here.stop()
