"""How devices behave: one small script a behaviour, over a link of either kind."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
from typing import TYPE_CHECKING, Any, Protocol

from pulse_simulator.mischief import faults
from pulse_simulator.sensor import Sensor, encode

if TYPE_CHECKING:
    from pulse_simulator.fleet import Member

KEPT_READINGS = 256
"""What a device remembers while it cannot send; then the oldest goes."""
FIRST_SILENCE_S = (10.0, 25.0)
SILENCE_S = (40.0, 60.0)
BETWEEN_SILENCES_S = (60.0, 150.0)
FLAP_AFTER_S = (3.0, 9.0)
FLAP_FOR_S = (1.0, 6.0)
CHATTY_INTERVAL_S = 0.1


class Link(Protocol):
    """A device's way to the platform."""

    async def send(self, msg_type: str, payload: bytes) -> bool:
        """Return when the platform has answered for good: True for taken, False for refused."""

    async def knock(self, token: str) -> None:
        """Try another token once."""

    async def leave(self) -> None:
        """Be out of reach: lose the connection, and send nothing until :meth:`come_back`."""

    def come_back(self) -> None:
        """Be within reach again."""


class SimulatedDevice:
    """One device: measures by its own clock, keeps what it cannot send yet, behaves as it is told."""

    def __init__(self, member: Member, link: Link) -> None:
        self._member = member
        self._link = link
        self._sensor = Sensor(member)
        self._kept: collections.deque[tuple[str, bytes]] = collections.deque(maxlen=KEPT_READINGS)
        self._something = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()

    async def run(self) -> None:
        """Live until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._transmit())
            tasks.create_task(self._measure())
            if self._member.behaviour == "goes_silent":
                tasks.create_task(self._fall_silent())
            elif self._member.behaviour == "flapping":
                tasks.create_task(self._flap())
            elif self._member.behaviour == "misbehaves":
                tasks.create_task(self._misbehave())

    def _body(self) -> dict[str, Any]:
        return self._sensor.read(dt.datetime.now(dt.UTC))

    def _keep(self, msg_type: str, payload: bytes) -> None:
        self._kept.append((msg_type, payload))
        self._something.set()

    def _between(self, low_high: tuple[float, float]) -> float:
        return self._sensor.chance.uniform(*low_high)

    async def _measure(self) -> None:
        chatty = self._member.behaviour == "chatty"
        interval_s = CHATTY_INTERVAL_S if chatty else self._member.interval_s
        await asyncio.sleep(self._between((0, min(interval_s, 2.0))))
        while True:
            if self._awake.is_set():
                self._keep("heartbeat" if self._sensor.seq % 5 == 0 else "telemetry", encode(self._body()))
            await asyncio.sleep(interval_s * self._between((0.9, 1.1)))

    async def _transmit(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._kept:
                await self._link.send(*self._kept.popleft())

    async def _be_away(self, seconds: float) -> None:
        self._awake.clear()
        await self._link.leave()
        await asyncio.sleep(seconds)
        self._link.come_back()
        self._awake.set()

    async def _fall_silent(self) -> None:
        await asyncio.sleep(self._between(FIRST_SILENCE_S))
        while True:
            await self._be_away(self._between(SILENCE_S))
            await asyncio.sleep(self._between(BETWEEN_SILENCES_S))

    async def _flap(self) -> None:
        while True:
            await asyncio.sleep(self._between(FLAP_AFTER_S))
            await self._be_away(self._between(FLAP_FOR_S))

    async def _misbehave(self) -> None:
        for number, spoil in enumerate(faults()):
            await asyncio.sleep(self._member.interval_s * self._between((0.8, 1.6)))
            self._keep("telemetry", spoil(self._body()))
            if number % 4 == 0:
                await self._link.knock("not-the-token-that-i-was-given")
