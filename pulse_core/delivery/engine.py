"""The delivery engine: listen, claim, attempt, record, until told to stop.

::

    outbox ─claim→ desk (endpoints side by side) ─attempt→ channel ─ending→ recorder ─commit→ outbox

Whatever happens to this process, a delivery is in the outbox until its outcome is committed. It is sent twice only
if the process dies (or the database is gone for longer than the lease) between the sending and that commit.
"""

from __future__ import annotations

import asyncio
import os
import random as random_module
import secrets
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from pulse_core.delivery.backoff import Backoff
from pulse_core.delivery.breakers import BreakerRule, Breakers
from pulse_core.delivery.claimer import Claimer
from pulse_core.delivery.desk import Desk
from pulse_core.delivery.recorder import Recorder
from pulse_core.errors import StoreUnavailable
from pulse_core.schedule import CONTRACT, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulse_core.config import DeliveryConfig
    from pulse_core.delivery.channels import Channels
    from pulse_core.outbox import Attempt
    from pulse_core.ports import Clock, DeliveryStore

_LEASE_MARGIN_S = 10.0
_LAST_STEPS_S = 2.0
"""What of the time to leave is kept for recording, giving back and closing."""

log = structlog.get_logger("pulse.delivery")


class DeliveryEngine:
    """Delivers what stands in the outbox. Several may work one outbox, in one process or many.

    :param schedule: when to try again.
    :param random: uniform in [0, 1), for the jitter.
    :param leave_within_s: how long :meth:`run` may take from ``stopping`` to its return.
    """

    def __init__(
        self,
        store: DeliveryStore,
        channels: Channels,
        config: DeliveryConfig,
        *,
        clock: Clock,
        schedule: Schedule = CONTRACT,
        random: Callable[[], float] = random_module.random,
        leave_within_s: float = 8.0,
    ) -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        """Who holds our leases: unlike any other engine, past or present."""
        self._store = store
        self._channels = channels
        self._leave_within_s = leave_within_s
        self._breakers = Breakers(
            BreakerRule(config.breaker_failures, config.breaker_probe_s, config.breaker_longest_s)
        )
        self._desk = Desk(
            channels,
            self._breakers,
            clock,
            workers=config.workers,
            per_endpoint=config.per_endpoint,
            timeout_s=config.attempt_timeout_s,
            schedule=schedule,
            random=random,
            done=lambda attempt: self._recorder.add(attempt),  # noqa: PLW0108 - made below
            changed=lambda integrations: self._claimer.room(integrations),  # noqa: PLW0108 - made below
        )
        self._recorder = Recorder(
            store,
            self.worker,
            clock,
            recorded=self._recorded,
            expecting=lambda: self._desk.running > 0,
            breakers=self._breakers.take_changes,
        )
        self._claimer = Claimer(
            store,
            self.worker,
            clock,
            self._desk,
            self._breakers,
            lease_s=max(config.lease_s, config.attempt_timeout_s + _LEASE_MARGIN_S),
            per_endpoint=config.per_endpoint,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until ``stopping`` is set; then finish what runs, give the rest back and close the channels."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(), name="delivery: listen")
            recording = group.create_task(self._recorder.run(), name="delivery: record")
            try:
                await self._claimer.run(stopping)
                await self._leave()
            finally:
                self._desk.interrupt()
                listening.cancel()
                recording.cancel()

    async def _leave(self) -> None:
        end_s = time.monotonic() + self._leave_within_s
        self._desk.close()
        await self._give_back(end_s)
        await self._desk.finish(max(0.0, end_s - time.monotonic() - _LAST_STEPS_S))
        if await self._recorder.flush(_left_s(end_s)):
            self._desk.held.clear()
        else:
            log.warning("delivery.leaves_unrecorded", deliveries=len(self._desk.held))
        await self._give_back(end_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(_left_s(end_s)):
                await self._channels.close()

    async def _give_back(self, end_s: float) -> None:
        """Without the database the leases run out by themselves."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_left_s(end_s)):
                await self._claimer.give_back()

    def _recorded(self, attempts: Sequence[Attempt]) -> None:
        self._desk.recorded(attempts)
        if any(attempt.due_us is not None for attempt in attempts):
            self._claimer.wake()

    async def _listen(self) -> None:
        backoff = Backoff()
        while True:
            try:
                async for edited in self._store.wakeups():
                    backoff.reset()
                    if edited is not None:
                        self._breakers.forget(*edited)
                        self._recorder.note()
                    self._claimer.wake()
            except StoreUnavailable as error:
                log.warning("delivery.listen_waits", error=str(error))
            except Exception:
                log.exception("delivery.listen_failed")
            await backoff.wait()


def _left_s(end_s: float) -> float:
    """Return how long one of the last steps may take: each a part of what is left, so that all get a chance."""
    return max(0.05, min(_LAST_STEPS_S, end_s - time.monotonic()) / 2)
