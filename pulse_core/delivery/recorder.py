"""Writing attempts down, many in one commit, for as long as it takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pulse_core.delivery.backoff import Backoff
from pulse_core.delivery.metrics import DELIVERIES
from pulse_core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulse_core.outbox import Attempt, BreakerChanges
    from pulse_core.ports import Clock, DeliveryStore

_MOST = 500
_GATHER_S = 0.005
"""How long to wait for company while other attempts are running: fewer commits, and still at once for people."""

log = structlog.get_logger("pulse.delivery")


class Recorder:
    """Takes attempts that are over and commits them in batches.

    :param recorded: told of attempts that need no more attention: committed, or impossible to write.
    :param expecting: whether more attempts are about to end.
    :param breakers: hands over how breakers have changed since it was asked last.
    """

    def __init__(
        self,
        store: DeliveryStore,
        worker: str,
        clock: Clock,
        *,
        recorded: Callable[[Sequence[Attempt]], None],
        expecting: Callable[[], bool],
        breakers: Callable[[], BreakerChanges],
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._recorded = recorded
        self._expecting = expecting
        self._breakers = breakers
        self._waiting: list[Attempt] = []
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, attempt: Attempt) -> None:
        """Take one over."""
        self._waiting.append(attempt)
        self.note()

    def note(self) -> None:
        """Write down how the breakers stand, even if no attempt is over."""
        self._idle.clear()
        self._some.set()

    async def flush(self, within_s: float) -> bool:
        """Wait until everything is committed; say whether it is."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        while True:
            await self._some.wait()
            if self._expecting():
                await asyncio.sleep(_GATHER_S)
            self._some.clear()
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            await self._write(batch, self._breakers())
            if self._waiting:
                self._some.set()
            elif not self._some.is_set():
                self._idle.set()

    async def _write(self, batch: Sequence[Attempt], breakers: BreakerChanges) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._store.record(self._worker, batch, now_us=self._clock.now_us(), breakers=breakers)
            except StoreUnavailable as error:
                log.warning("delivery.record_waits", attempts=len(batch), error=str(error))
                await backoff.wait()
            except Exception:
                if len(batch) > 1 or (batch and breakers):
                    for one in batch:
                        await self._write([one], {})
                    await self._write([], breakers)
                    return
                log.exception("delivery.not_recorded", deliveries=[str(one.delivery_id) for one in batch])
                break
            else:
                for one in batch:
                    DELIVERIES.labels(one.status).inc()
                break
        self._recorded(batch)
