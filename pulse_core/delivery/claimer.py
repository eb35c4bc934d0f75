"""When to look into the outbox, and how much to take."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from pulse_core.delivery.backoff import Backoff
from pulse_core.delivery.metrics import DELIVERIES, HANDED_OVER
from pulse_core.errors import StoreUnavailable

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from pulse_core.delivery.breakers import Breakers
    from pulse_core.delivery.desk import Desk
    from pulse_core.outbox import Claim, ClaimRoom
    from pulse_core.ports import Clock, DeliveryStore

_US = 1_000_000
_POLL_S = 15.0
"""The fallback: notifications and due times wake us long before."""
_SPACING_S = 0.01
_WORTH_IT = 50
"""Claims that bring less take at most half of the time, so that under load they come to bring more."""
_SOON_S = 0.25
_LOOK_AROUND_S = 1.0
_JUMP_S = 5.0
"""The clock was set forward if it went so much further than it should have: no lease says anything then."""

log = structlog.get_logger("pulse.delivery")


class Claimer:
    """Keeps the desk supplied. :meth:`wake` says that there may be something to do."""

    def __init__(
        self,
        store: DeliveryStore,
        worker: str,
        clock: Clock,
        desk: Desk,
        breakers: Breakers,
        *,
        lease_s: float,
        per_endpoint: int,
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._desk = desk
        self._breakers = breakers
        self._restored = False
        self._lease_s = lease_s
        self._per_endpoint = per_endpoint
        self._woken = asyncio.Event()
        self._left_out = False
        self._filled: set[uuid.UUID] = set()
        self._brought = 0
        self._unsure = False
        self._looked_around_s = 0.0
        self._ahead_s = math.inf
        self._trusted_from_s = 0.0
        self._backoff = Backoff()

    def wake(self) -> None:
        """Look now: deliveries were made, or became due."""
        self._woken.set()

    def room(self, integrations: AbstractSet[uuid.UUID]) -> None:
        """Look again if the last claim had to leave something of these: there is room now.

        An endpoint that hangs is always full: the ends of others' attempts say nothing about it.
        """
        if self._left_out or not self._filled.isdisjoint(integrations):
            self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Claim until ``stopping`` is set."""
        waking = asyncio.create_task(self._wake_on(stopping))
        try:
            while not stopping.is_set():
                self._woken.clear()
                began_s = time.monotonic()
                wait_s = await self._safely()
                if self._brought < _WORTH_IT:
                    await asyncio.sleep(min(_SOON_S, max(_SPACING_S, time.monotonic() - began_s)))
                await self._rest(wait_s)
        finally:
            waking.cancel()

    async def give_back(self) -> None:
        """Give back what is leased to us but not held: a claim whose commit we never heard of, or what went stale."""
        await self._store.give_back(self._worker, keep=list(self._desk.held))

    async def _wake_on(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._woken.set()

    async def _rest(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _safely(self) -> float:
        """Take a turn; return how long to rest if nothing wakes us. Nothing that a store does ends the engine."""
        try:
            wait_s = await self._turn()
        except StoreUnavailable as error:
            log.warning("delivery.claim_waits", error=str(error))
        except Exception:
            log.exception("delivery.claim_failed")
        else:
            self._backoff.reset()
            return wait_s
        self._unsure = True
        pause_s = self._backoff.next_s()
        await asyncio.sleep(pause_s)
        return 0.0

    async def _turn(self) -> float:
        if self._unsure or self._desk.stale:
            self._desk.stale = False
            self._unsure = True
            await self.give_back()
            self._unsure = False
        if not self._restored:
            self._breakers.restore(await self._store.breakers())
            self._restored = True
        await self._look_around()
        self._left_out, self._brought = True, 0
        free = self._desk.free
        if free <= 0:
            return _POLL_S
        now_us, rooms = self._clock.now_us(), self._desk.rooms()
        claim = await self._store.claim(
            self._worker,
            now_us=now_us,
            lease_until_us=now_us + round(self._lease_s * _US),
            limit=free,
            per_endpoint=self._per_endpoint,
            rooms=rooms,
            running=self._desk.tenants,
        )
        DELIVERIES.labels("CANCELLED").inc(claim.cancelled)
        self._brought = len(claim.deliveries)
        not_tried = self._desk.accept(claim.deliveries, self._lease_s)
        self._left_out, self._filled = claim.more, self._filled_by(claim, rooms)
        if claim.more or (self._filled and not_tried):
            return 0.0 if self._desk.free > 0 else _POLL_S
        if self._filled and self._brought >= _WORTH_IT:
            return _SOON_S
        return await self._until_due()

    def _filled_by(self, claim: Claim, rooms: Sequence[ClaimRoom]) -> set[uuid.UUID]:
        """Tell for which integrations the claim took all that there was room for: more may be waiting for them."""
        endpoint_of = {room.integration_id: room.endpoint for room in rooms}
        room_of = {room.endpoint: room.room for room in rooms}
        ids = [each.integration.integration_id for each in claim.deliveries]
        taken = Counter(endpoint_of.get(one, str(one)) for one in ids)
        full = {key for key in {*taken, *room_of} if taken[key] >= room_of.get(key, self._per_endpoint)}
        return {one for one in {*ids, *endpoint_of} if endpoint_of.get(one, str(one)) in full}

    async def _until_due(self) -> float:
        """Say how long there is nothing to do; while a breaker is open, something may be due for its fallback."""
        most_s = _LOOK_AROUND_S if self._breakers.open_count else _POLL_S
        now_us = self._clock.now_us()
        moments = await self._store.next_due_us(self._worker, now_us=now_us), self._breakers.next_probe_us(now_us)
        due_us = min((moment for moment in moments if moment is not None), default=None)
        if due_us is None:
            return most_s
        least_s = 0.0 if self._trusts_leases(now_us) else _SOON_S
        return min(most_s, max(least_s, (due_us - now_us) / _US))

    def _trusts_leases(self, now_us: int) -> bool:
        """Whether a lease that ran out says that its worker is gone: not for a lease's time after the clock jumped."""
        now_s = time.monotonic()
        ahead_s = now_us / _US - now_s
        if ahead_s > self._ahead_s + _JUMP_S:
            self._trusted_from_s = now_s + self._lease_s
        self._ahead_s = ahead_s
        return now_s >= self._trusted_from_s

    async def _look_around(self) -> None:
        """See, once a second at most, what other workers have lost, and what has waited long enough for a breaker."""
        if time.monotonic() - self._looked_around_s < _LOOK_AROUND_S:
            return
        now_us = self._clock.now_us()
        HANDED_OVER.inc(await self._store.hand_over(now_us=now_us))
        if not self._trusts_leases(now_us):
            return
        lost = await self._store.take_over(
            self._worker, now_us=now_us, lease_until_us=now_us + round(self._lease_s * _US), limit=500
        )
        self._looked_around_s = time.monotonic()
        for claimed in lost:
            log.warning("delivery.lost", delivery_id=str(claimed.delivery_id), attempt=claimed.attempt)
            self._desk.lost(claimed)
