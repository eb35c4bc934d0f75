"""What all connections of the listener share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_mqtt.courier import Courier
from pulse_mqtt.login import Desk
from pulse_mqtt.roster import Roster
from pulse_mqtt.wills import Wills

if TYPE_CHECKING:
    from pulse_core.api import DeviceKey, Intake
    from pulse_mqtt.config import MqttConfig
    from pulse_mqtt.connection import Connection
    from pulse_mqtt.conversation import Conversation


class Door:
    """The front door: who is inside, and who looks after them."""

    def __init__(self, intake: Intake, config: MqttConfig, source: str, log: Any) -> None:
        self.intake = intake
        self.config = config
        self.source = source
        self.log = log
        self.roster: Roster[Connection] = Roster(config.max_connections)
        self.wills = Wills(intake, source)
        self.courier = Courier(intake, self._talks_with, log)
        self.desk = Desk(intake, config, self.roster, self.wills, source)

    def _talks_with(self, key: DeviceKey) -> list[Conversation]:
        return [one.talk for one in self.roster.of(key) if one.talk is not None]

    async def close(self) -> None:
        """Stop what still runs."""
        await self.courier.close()
        await self.wills.close()
