"""The MQTT listener: accepts connections until the platform stops, then lets each of them finish."""

from __future__ import annotations

import asyncio
import errno
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, cast

from pulse_core.api import Ending, Ingester, PermanentFailure, StoreUnavailable
from pulse_mqtt.config import MqttConfig
from pulse_mqtt.connection import Connection
from pulse_mqtt.roster import Roster
from pulse_mqtt.websocket import MOUNT, WebSocketApp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulse_core.api import AsgiApp, Intake, PluginConfig, Services

_FALLBACK_PORTS = 100
_BACKLOG = 1024
_RESUBSCRIBE_S = 0.5
_LAST_GRACE_S = 0.5


class MqttIngester(Ingester):
    """Devices in over MQTT 3.1.1: QoS 0, 1 and 2, acknowledged after the commit."""

    name = "mqtt"
    summary = "MQTT 3.1.1 listener: a device logs in with its token and publishes under its own topics."
    config_type: ClassVar[type[PluginConfig]] = MqttConfig
    config: MqttConfig

    def __init__(self, config: MqttConfig, services: Services) -> None:
        super().__init__(config, services)
        self._addresses: dict[str, str] = {}
        self._roster = Roster(config.max_connections)

    def asgi(self, intake: Intake) -> tuple[str, AsgiApp] | None:
        """MQTT over WebSocket, mounted at ``/mqtt``."""
        return (MOUNT, WebSocketApp(intake, self._serving(intake, "mqtt-ws"))) if self.config.websocket else None

    def addresses(self) -> Mapping[str, str]:
        """``mqtt`` and, with a certificate, ``mqtts``."""
        return dict(self._addresses)

    @classmethod
    async def check(cls, config: PluginConfig) -> None:
        """See whether the certificate can be used."""
        _tls(cast("MqttConfig", config))

    async def run(self, intake: Intake) -> None:
        """Listen until ``intake.stopping``; then stop reading, acknowledge what is decided, and close."""
        servers = await self._listen(intake)
        following = asyncio.create_task(self._follow_revocations(intake))
        stopping = asyncio.create_task(intake.stopping.wait())
        intake.receiving(True)
        try:
            await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            intake.receiving(False)
            for server in servers:
                server.close()
            self._addresses.clear()
            following.cancel()
            stopping.cancel()
            await asyncio.gather(following, stopping, return_exceptions=True)
            await self._let_all_finish()

    async def _listen(self, intake: Intake) -> list[asyncio.Server]:
        config = self.config
        servers = [await self._listen_on(intake, "mqtt", config.port, None)]
        try:
            if (tls := _tls(config)) is not None:
                servers.append(await self._listen_on(intake, "mqtts", config.tls_port, tls))
        except BaseException:
            servers[0].close()
            raise
        return servers

    async def _listen_on(self, intake: Intake, scheme: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        config = self.config
        last = port + _FALLBACK_PORTS if config.port_fallback and port else port
        while True:
            try:
                server = await loop.create_server(
                    self._serving(intake, scheme),
                    config.host,
                    port,
                    backlog=_BACKLOG,
                    ssl=tls,
                    ssl_handshake_timeout=config.connect_timeout_s if tls else None,
                )
            except OSError as error:
                if error.errno != errno.EADDRINUSE or port >= last:
                    raise PermanentFailure(f"{scheme}: cannot listen on {config.host}:{port}: {error}") from error
                port += 1
            else:
                host, bound = server.sockets[0].getsockname()[:2]
                host = f"[{host}]" if ":" in host else host
                self._addresses[scheme] = f"{scheme}://{host}:{bound}"
                return server

    def _serving(self, intake: Intake, protocol: str) -> Callable[[], Connection]:
        """Make the function that makes connections; ``protocol`` is what people see in the connection history."""
        config, roster, source, log = self.config, self._roster, self.name, self.services.log
        return lambda: Connection(intake, config, roster, source, protocol, log)

    async def _follow_revocations(self, intake: Intake) -> None:
        while True:
            with suppress(StoreUnavailable):
                async for key in intake.revocations():
                    self._roster.end(key)
            await asyncio.sleep(_RESUBSCRIBE_S)

    async def _let_all_finish(self) -> None:
        """Each connection bounds its own end; the grace is for connections that the system handed us meanwhile."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.config.drain_timeout_s + _LAST_GRACE_S
        for connection in self._roster.everyone():
            connection.drain()
        await self._roster.empty(deadline_s - loop.time())
        for connection in self._roster.everyone():
            connection.abort("the platform stops", Ending.SERVER_STOPPED)


def _tls(config: MqttConfig) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise PermanentFailure(f"tls_cert {config.tls_cert} cannot be used: {error}") from error
    return context
