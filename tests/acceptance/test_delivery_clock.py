"""The machine's clock jumps by an hour while deliveries wait, are being sent, and are to be tried again."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.clock import SystemClock
from support.delivering import running
from support.faults import DELIVERED, RETRYING, Bench, webhook
from support.outbox import S, promise
from support.slow_http import Arrival, SlowServer, slow_server
from support.waiting import until

if TYPE_CHECKING:
    from pulse_core.outbox import Claim, StoredIntegration
    from pulse_core.records import Delivery
    from support.outbox import State

HOUR_S = 3600.0
HELD = "/held"
LOOKS_EVERY_S = 1.1
LEASE_S = 40.0
"""What the bench's engines ask for."""


class JumpingClock:
    """The machine's clock, set forward or back."""

    def __init__(self) -> None:
        self._off_us = 0

    def now_us(self) -> int:
        return SystemClock().now_us() + self._off_us

    def jump(self, seconds: float) -> None:
        self._off_us += round(seconds * S)


class Story:
    """Deliveries in every state, over one or two engines that live all the time."""

    def __init__(self, bench: Bench, server: SlowServer) -> None:
        self.bench, self.server, self.clock = bench, server, JumpingClock()
        self._claimed_s: dict[str, float] = {}
        self._claim = bench.outbox.store.claim
        bench.outbox.store.claim = self._noted  # type: ignore[method-assign]

    async def _noted(self, worker: str, **options: Any) -> Claim:
        self._claimed_s[worker] = time.monotonic()
        return await self._claim(worker, **options)

    async def integrate(self, path: str) -> StoredIntegration:
        return await self.bench.integrate("webhook", webhook(f"{self.server.url}{path}"))

    async def promise(self, integration: StoredIntegration, *, in_s: float = 0.0, **fields: Any) -> Delivery:
        return await promise(self.bench.outbox, integration, due_us=self.clock.now_us() + round(in_s * S), **fields)

    async def looked(self, engines: int) -> None:
        """Wait until every engine has looked for lost deliveries, which it does before a claim, once a second."""
        from_s = time.monotonic() + LOOKS_EVERY_S
        while sum(at_s > from_s for at_s in self._claimed_s.values()) < engines:
            self.wake()
            await asyncio.sleep(0.1)

    def wake(self) -> None:
        """Engines sleep by the real time."""
        with self.bench.database.superuser() as connection:
            connection.execute("SELECT pg_notify('pulse_deliveries', '')")

    async def delivered(self, delivery: Delivery, attempts: int = 1) -> State:
        state = await self.bench.settled(delivery, attempts=attempts, within_s=20)
        assert state.status == DELIVERED
        return state

    async def delivered_within(self, delivery: Delivery, attempts: int, most_s: float) -> None:
        """Let as much time pass as the delivery waits, and see it delivered."""
        state = await self.bench.outbox.state(delivery)
        if state.status != DELIVERED:
            wait_s = (state.due_us - self.clock.now_us()) / S
            assert wait_s <= most_s
            self.clock.jump(max(0.0, wait_s))
            self.wake()
        await self.delivered(delivery, attempts)

    def sent(self, delivery: Delivery) -> int:
        arrivals = [each.delivery_id for each in self.server.arrivals]
        arrivals += [each.headers["webhook-id"] for each in self.bench.friend.received]
        return arrivals.count(str(delivery.delivery_id))


@pytest.mark.parametrize(
    ("engines", "jump_s"),
    [(1, HOUR_S), (1, -HOUR_S), (2, -HOUR_S), (2, HOUR_S)],
    ids=["forward", "back", "back, two engines", "forward, two engines"],
)
async def test_a_jump_loses_nothing_and_repeats_nothing(bench: Bench, engines: int, jump_s: float) -> None:
    release = asyncio.Event()

    async def hold(arrival: Arrival) -> None:
        if HELD in arrival.path:
            await release.wait()

    async with slow_server(hold) as server, AsyncExitStack() as stack:
        story = Story(bench, server)
        for _ in range(engines):
            await stack.enter_async_context(running(bench.engine(clock=story.clock)))
        bench.friend.status = 503
        retrying = await story.promise(await bench.befriend())
        assert (await bench.settled(retrying)).status == RETRYING
        bench.friend.status = None
        slow, alert = await story.integrate(HELD), uuid.uuid4()
        in_flight = await story.promise(slow, alert_id=alert)
        await until(lambda: story.sent(in_flight), what="the attempt that the jump comes upon")
        held_by = (await bench.outbox.state(in_flight)).leased_by
        closing = await story.promise(slow, event="CLOSED", alert_id=alert)
        pending = await story.promise(await story.integrate("/later"), in_s=60)

        story.clock.jump(jump_s)
        fresh = await story.promise(await story.integrate("/new"))
        await story.delivered(fresh)
        await story.looked(engines)
        assert (await bench.outbox.state(in_flight)).leased_by == held_by, "the lease of a living worker was stolen"
        release.set()
        await story.delivered(in_flight)
        await story.delivered(closing)
        await story.delivered_within(retrying, 2, HOUR_S + 5)
        await story.delivered_within(pending, 1, HOUR_S + 60)
    assert [story.sent(each) for each in (in_flight, closing, fresh, pending, retrying)] == [1, 1, 1, 1, 2]
    for each in (in_flight, closing, fresh, pending, retrying):
        assert all(0 <= noted.duration_ms < 60_000 for noted in await bench.outbox.noted(each))


async def test_after_a_jump_back_a_dead_workers_delivery_waits_an_hour_at_most(bench: Bench) -> None:
    gone = asyncio.Event()

    async def hold(_: Arrival) -> None:
        await gone.wait()

    async with slow_server(hold) as server:
        story = Story(bench, server)
        doomed = asyncio.create_task(bench.engine(clock=story.clock).run(asyncio.Event()))
        delivery = await story.promise(await story.integrate(HELD))
        await until(lambda: story.sent(delivery), what="the first attempt")
        state = await bench.outbox.state(delivery)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        assert (await bench.outbox.state(delivery)).leased_by == state.leased_by, "the worker died with its lease"
        gone.set()
        story.clock.jump(-HOUR_S)
        async with running(bench.engine(clock=story.clock)):
            assert state.lease_until_us is not None
            wait_s = state.lease_until_us / S - story.clock.now_us() / S
            assert HOUR_S < wait_s <= HOUR_S + LEASE_S
            story.clock.jump(wait_s + 1)
            await story.looked(1)
            await story.delivered(delivery, attempts=2)
    assert story.sent(delivery) == 2
