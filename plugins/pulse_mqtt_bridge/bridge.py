"""The ingester: stays connected to the broker for as long as the platform runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, ClassVar, cast

from aiomqtt import MqttError

from pulse_core.api import Ingester, PermanentFailure, PulseError
from pulse_mqtt_bridge.backoff import Backoff
from pulse_mqtt_bridge.config import BridgeConfig
from pulse_mqtt_bridge.doors import AccessDoors
from pulse_mqtt_bridge.selfcheck import check_client
from pulse_mqtt_bridge.visit import Received, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import AsgiApp, Intake, PluginConfig, Services
    from pulse_mqtt_bridge.config import Address
    from pulse_mqtt_bridge.wire import Grant

_SETTLE_WITHIN_S = 30.0
"""For outcomes of a lost connection, before the next one. After it a message of QoS 2 may be submitted twice."""


class BridgeIngester(Ingester):
    """Devices in through somebody else's MQTT broker, acknowledged to it after the commit."""

    name = "mqtt_bridge"
    summary = "A bridge: takes in what devices publish to an MQTT broker that you run; answers its questions of access."
    config_type: ClassVar[type[PluginConfig]] = BridgeConfig
    config: BridgeConfig

    def __init__(self, config: BridgeConfig, services: Services) -> None:
        super().__init__(config, services)
        self._addresses = config.addresses
        self._received = Received()
        self._told: str | None = None
        self._had_session = False
        self._doors: AccessDoors | None = None

    def addresses(self) -> Mapping[str, str]:
        """Where the broker is; we come to it."""
        return {self.name: str(self._addresses[0])}

    def mounts(self, intake: Intake) -> Mapping[str, AsgiApp]:
        """``/mqtt/auth`` and ``/mqtt/acl``, if a secret protects them."""
        if self.config.auth_secret is None:
            return {}
        self._doors = AccessDoors(intake, self.config, self.name, self.services.log)
        return {"/mqtt/auth": self._doors.auth, "/mqtt/acl": self._doors.acl}

    @classmethod
    async def check(cls, config: PluginConfig) -> None:
        """See whether the broker is named, the files can be used, and the client is one that we know."""
        own = cast("BridgeConfig", config)
        check_client()
        if any(address.tls for address in own.addresses):
            try:
                own.tls()
            except (OSError, ValueError) as error:
                raise PermanentFailure(f"ca_file, client_cert or client_key cannot be used: {error}") from error

    async def run(self, intake: Intake) -> None:
        """Connect, and again whenever the connection is lost, until ``intake.stopping``."""
        serving = asyncio.create_task(self._serve(intake))
        stopping = asyncio.create_task(intake.stopping.wait())
        tasks = [serving, stopping]
        if self._doors is not None:
            tasks.append(asyncio.create_task(self._doors.follow_revocations()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            intake.receiving(False)

    async def _serve(self, intake: Intake) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        backoff = Backoff(config.reconnect_first_s, config.reconnect_longest_s)
        topics = config.topics
        for address in cycle(self._addresses):
            visit = Visit(config, topics, self.name, intake, self._received, self.services.log)
            began_s = loop.time()
            try:
                reason = await self._stay(visit, address, intake)
            except asyncio.CancelledError:
                await visit.leave()
                raise
            finally:
                intake.receiving(False)
                visit.lose()
            pause_s = backoff.next_s(loop.time() - began_s)
            self._tell(address, reason, pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_WITHIN_S):
                    await visit.settled()
            await asyncio.sleep(pause_s)

    async def _stay(self, visit: Visit, address: Address, intake: Intake) -> str:
        """Return, when the connection is lost or does not come about, why."""
        try:
            grants = await visit.begin(address, self.config.subscriptions)
        except TimeoutError:
            return f"no connection within {self.config.connect_timeout_s:g} s"
        except (OSError, PulseError, MqttError) as error:
            return str(error)
        except Exception as error:
            self.services.log.exception("bridge.failed", broker=str(address))
            return repr(error)
        if refused := [grant for grant in grants if grant.refusal]:
            told = ", ".join(f"{grant.topic_filter}: {grant.refusal}" for grant in refused)
            return f"the broker refuses the subscription ({told})"
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # aiomqtt's wait_for loses a cancel that comes with the answer (Python 3.11)
        self._welcome(visit, address, grants)
        intake.receiving(True)
        return await visit.until_lost()

    def _welcome(self, visit: Visit, address: Address, grants: list[Grant]) -> None:
        self._told = None
        log = self.services.log
        log.info("bridge.connected", broker=str(address), session="resumed" if visit.resumed else "new")
        if self._had_session and not visit.resumed:
            log.warning("bridge.session_lost", reason="the broker has forgotten us, and what it kept for us")
        self._had_session = True
        for grant in grants:
            if grant.qos < self.config.qos:
                log.warning("bridge.lower_qos", filter=grant.topic_filter, granted=grant.qos, wanted=self.config.qos)

    def _tell(self, address: Address, reason: str, pause_s: float) -> None:
        """Every new reason once, at a level that people see."""
        say = self.services.log.debug if reason == self._told else self.services.log.error
        self._told = reason
        say("bridge.down", broker=str(address), reason=reason, again_in_s=round(pause_s, 1))
