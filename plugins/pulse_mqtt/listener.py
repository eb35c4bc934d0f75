"""The MQTT listener: accepts connections until the platform stops, then lets each of them finish."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from pulse_core.api import Ending, Ingester, PermanentFailure, StoreUnavailable
from pulse_mqtt.config import MqttConfig
from pulse_mqtt.connection import Connection
from pulse_mqtt.door import Door
from pulse_mqtt.tls import Tls
from pulse_mqtt.websocket import MOUNT, WebSocketApp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pulse_core.api import AsgiApp, Intake, PluginConfig, Services

_FALLBACK_PORTS = 100
_BACKLOG = 1024
_ACCEPTS = 32
"""So many connections are accepted in one turn of the event loop. uvloop accepts one a server and turn, and a turn is
long while many publish: who logs in then would wait behind them, however few they are."""
_RESUBSCRIBE_S = 0.5
_LAST_GRACE_S = 0.5
_GOODBYE_S = 5.0
"""How long a peer may take to end TLS in good order."""
_WATCH_S = 0.5
"""How often keep-alives are looked at: one look for all costs less than a timer each."""


class MqttIngester(Ingester):
    """Devices in over MQTT 3.1.1 and 5.0: QoS 0, 1 and 2, acknowledged after the commit."""

    name = "mqtt"
    summary = "MQTT 3.1.1 and 5.0 listener: a device logs in with its token and publishes under its own topics."
    config_type: ClassVar[type[PluginConfig]] = MqttConfig
    config: MqttConfig

    def __init__(self, config: MqttConfig, services: Services) -> None:
        super().__init__(config, services)
        self._addresses: dict[str, str] = {}
        self._door: Door | None = None

    def asgi(self, intake: Intake) -> tuple[str, AsgiApp] | None:
        """MQTT over WebSocket, mounted at ``/mqtt``."""
        if not self.config.websocket:
            return None
        door = self._door_of(intake)
        return MOUNT, WebSocketApp(intake, lambda: Connection(door, "mqtt-ws"))

    def addresses(self) -> Mapping[str, str]:
        """``mqtt`` and, with a certificate, ``mqtts``."""
        return dict(self._addresses)

    @classmethod
    async def check(cls, config: PluginConfig) -> None:
        """See whether the certificates can be used."""
        if (mqtt := cast("MqttConfig", config)).tls_cert is not None:
            Tls(mqtt, None)

    async def run(self, intake: Intake) -> None:
        """Listen until ``intake.stopping``; then stop reading, acknowledge what is decided, and close."""
        door = self._door_of(intake)
        servers = await self._listen(door)
        start = asyncio.create_task
        working = [
            start(self._follow_revocations(door)),
            start(door.courier.run()),
            start(_watch_silence(door)),
            start(intake.stopping.wait()),
        ]
        if door.tls is not None:
            working.append(start(door.tls.follow_files()))
        intake.receiving(True)
        try:
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for one in working:
                if one.done():
                    one.result()
        finally:
            intake.receiving(False)
            for server in servers:
                server.close()
            self._addresses.clear()
            for one in working:
                one.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await self._let_all_finish(door)
            await door.close()

    async def _listen(self, door: Door) -> list[asyncio.Server]:
        config = self.config
        servers = await self._listen_on(door, "mqtt", config.port, None)
        try:
            if config.tls_cert is not None:
                door.tls = Tls(config, door.log)
                servers += await self._listen_on(door, "mqtts", config.tls_port, door.tls.context)
        except BaseException:
            for server in servers:
                server.close()
            raise
        return servers

    async def _listen_on(self, door: Door, scheme: str, port: int, tls: ssl.SSLContext | None) -> list[asyncio.Server]:
        config = self.config
        last = port + _FALLBACK_PORTS if config.port_fallback and port else port
        listen = partial(
            asyncio.get_running_loop().create_server,
            lambda: Connection(door, scheme),
            backlog=_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=config.connect_timeout_s if tls else None,
            ssl_shutdown_timeout=_GOODBYE_S if tls else None,
        )
        while True:
            try:
                server = await listen(config.host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or port >= last:
                    raise PermanentFailure(f"{scheme}: cannot listen on {config.host}:{port}: {error}") from error
                port += 1
            else:
                host, bound = server.sockets[0].getsockname()[:2]
                host = f"[{host}]" if ":" in host else host
                self._addresses[scheme] = f"{scheme}://{host}:{bound}"
                return [server, *[await listen(sock=_same(one)) for one in server.sockets for _ in range(_ACCEPTS - 1)]]

    def _door_of(self, intake: Intake) -> Door:
        """The one door, through whichever way a connection comes."""
        if self._door is None:
            self._door = Door(intake, self.config, self.name, self.services.log)
        return self._door

    async def _follow_revocations(self, door: Door) -> None:
        while True:
            with suppress(StoreUnavailable):
                async for key in door.intake.revocations():
                    door.roster.end(key)
            await asyncio.sleep(_RESUBSCRIBE_S)

    async def _let_all_finish(self, door: Door) -> None:
        """Each connection bounds its own end; the grace is for connections that the system handed us meanwhile."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.drain_timeout_s + _LAST_GRACE_S
        for connection in door.roster.everyone():
            connection.drain()
        await door.roster.empty(deadline_s - loop.time())
        for connection in door.roster.everyone():
            connection.abort("the platform stops", Ending.SERVER_STOPPED)


async def _watch_silence(door: Door) -> None:
    while True:
        await asyncio.sleep(_WATCH_S)
        now_s = asyncio.get_running_loop().time()
        for connection in door.roster.everyone():
            connection.check_silence(now_s)


def _same(listening: socket.socket) -> socket.socket:
    """The same socket, for another server."""
    return socket.socket(fileno=os.dup(listening.fileno()))
