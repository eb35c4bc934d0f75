"""An intake that a listener can be cut off from: what it does after that never happened, as after a kill -9."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pulse_core.testing.intake import LogOnly
from pulse_mqtt import MqttIngester
from pulse_mqtt.config import MqttConfig
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.testing.intake import FakeIntake

_NEVER = {"submit", "open_session", "save_session", "commands", "acknowledge_command", "authenticate", "room"}
_NOTHING = {"leave_session", "connection_event", "receiving", "pace", "charge"}


class Lifeline:
    """The intake of one listener, until :meth:`cut`."""

    def __init__(self, intake: FakeIntake) -> None:
        self._intake = intake
        self._cut = False
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if self._cut and name in _NEVER:
            return lambda *_, **__: asyncio.get_running_loop().create_future()
        if self._cut and name in _NOTHING:
            return lambda *_, **__: 0.0
        return getattr(self._intake, name)

    def receiving(self, up: bool) -> None:
        """Say that the listener is ready."""
        if up:
            self.ready.set()

    def connected(self, *_: Any, **__: Any) -> Callable[[Any], None]:
        """History is no matter here."""
        return lambda _: None

    def cut(self) -> None:
        """From now on nothing gets through."""
        self._cut = True


class Listener:
    """One life of the MQTT listener."""

    def __init__(self, intake: FakeIntake) -> None:
        self._line = Lifeline(intake)
        self._ingester = MqttIngester(MqttConfig(port=0, drain_timeout_s=0.01), LogOnly())
        self._task = asyncio.create_task(self._ingester.run(self._line))

    async def port(self) -> int:
        """Where it listens."""
        await until(lambda: self._line.ready.is_set() or self._task.done())
        return int(self._ingester.addresses()["mqtt"].rpartition(":")[2])

    async def kill(self) -> None:
        """Be gone, and leave no word."""
        self._line.cut()
        self._task.cancel()
        await asyncio.wait((self._task,))
