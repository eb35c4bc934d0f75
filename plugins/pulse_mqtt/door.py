"""What all connections of the listener share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pulse_mqtt.addresses import Crowd
from pulse_mqtt.courier import Courier
from pulse_mqtt.login import Desk
from pulse_mqtt.roster import Guest, Roster
from pulse_mqtt.strangers import Strangers
from pulse_mqtt.throttle import LoginThrottle
from pulse_mqtt.wills import Wills

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey, Intake
    from pulse_mqtt.config import MqttConfig
    from pulse_mqtt.courier import Recipient
    from pulse_mqtt.tls import Tls


class Visitor(Guest, Protocol):
    """A connection, as the door sees it."""

    @property
    def talk(self) -> Recipient | None:
        """What is said on it; None before its login."""


class Door:
    """The front door: who is inside, and who looks after them."""

    def __init__(self, intake: Intake, config: MqttConfig, source: str, log: Any) -> None:
        self.intake = intake
        self.config = config
        self.source = source
        self.log = log
        self.tls: Tls | None = None
        """Of the way in over TLS, if there is one."""
        self.roster: Roster[Visitor] = Roster(config.max_connections)
        self.crowd = Crowd(config.max_connections_per_address)
        self.strangers: Strangers[Visitor] = Strangers(config.max_strangers)
        self.wills = Wills(intake, source)
        self.courier = Courier(intake, self._talks_with, log)
        throttle = LoginThrottle(config.login_failures_burst, config.login_failures_per_s)
        self.desk = Desk(intake, config, self.roster, self.wills, throttle, source)

    def _talks_with(self, key: DeviceKey) -> list[Recipient]:
        return [one.talk for one in self.roster.of(key) if one.talk is not None]

    async def close(self) -> None:
        """Stop what still runs."""
        await self.courier.close()
        await self.wills.close()
