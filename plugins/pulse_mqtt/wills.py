"""Last wills: what a device wants said when its connection breaks (3.1.2.5 of MQTT 5)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pulse_core.api import ConnectionEvent, RawMessage, Verdict
from pulse_mqtt.topics import Topics

if TYPE_CHECKING:
    from pulse_core.api import Intake
    from pulse_mqtt.packets import Will
    from pulse_mqtt.session import SessionKey

MOST = 10_000
"""Wills that wait for their delay, or for room; beyond it they are published at once, or dropped."""


class Wills:
    """Publishes wills: a message like any other of its device's, and an event in its history.

    A will lives in memory. When we stop or die nobody's will is published: that connections end then is our doing.
    """

    def __init__(self, intake: Intake, source: str) -> None:
        self._intake = intake
        self._source = source
        self._later: dict[SessionKey, tuple[asyncio.TimerHandle, Will]] = {}
        self._publishing: set[asyncio.Task[None]] = set()

    def broken(self, key: SessionKey, will: Will, delay_s: int) -> None:
        """A connection broke: publish its will after ``delay_s``."""
        if delay_s and len(self._later) < MOST:
            timer = asyncio.get_running_loop().call_later(delay_s, self._due, key)
            self._later[key] = (timer, will)
        else:
            self._publish(key, will)

    def back(self, key: SessionKey, *, resumed: bool) -> None:
        """Its client has connected again: a will that waits is dropped, unless its session has ended (3.1.3.2.2)."""
        waiting = self._later.pop(key, None)
        if waiting is not None:
            waiting[0].cancel()
            if not resumed:
                self._publish(key, waiting[1])

    async def close(self) -> None:
        """Drop what waits."""
        for timer, _ in self._later.values():
            timer.cancel()
        self._later.clear()
        for task in self._publishing:
            task.cancel()
        await asyncio.gather(*self._publishing, return_exceptions=True)

    def _due(self, key: SessionKey) -> None:
        _, will = self._later.pop(key)
        self._publish(key, will)

    def _publish(self, key: SessionKey, will: Will) -> None:
        if len(self._publishing) < MOST:
            task = asyncio.get_running_loop().create_task(self._carry(key, will))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)

    async def _carry(self, key: SessionKey, will: Will) -> None:
        device = key.device
        msg_type, refused, _ = Topics(device).judge(will.topic.encode())
        message = RawMessage(
            device.tenant_id,
            device.device_id,
            msg_type,
            will.payload,
            time.time_ns() // 1000,
            self._source,
            authenticated=True,
            will=True,
            may_wait=True,
            refused=refused,
        )
        self._intake.pace(device, 1)
        (outcome,) = await self._intake.submit([message])
        while outcome.verdict is Verdict.RETRY_LATER:
            await self._intake.room()
            (outcome,) = await self._intake.submit([message])
        became = str(outcome.reason) if outcome.reason else "taken in"
        self._intake.connection_event(
            device, ConnectionEvent.WILL, client_id=key.client_id, detail=f"{msg_type}: {became}"
        )
