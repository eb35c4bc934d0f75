"""The desk: claimed deliveries on their way, endpoints side by side, each with its limit."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pulse_core.delivery.attempt import attempt, report
from pulse_core.delivery.ending import Ending, conclude, storable, temporary
from pulse_core.delivery.endpoints import Endpoint, Endpoints
from pulse_core.delivery.metrics import ATTEMPT_SECONDS, ATTEMPTS, BREAKERS_OPEN, IN_FLIGHT
from pulse_core.records import Cause

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from pulse_core.delivery.breakers import Breaker, Breakers
    from pulse_core.delivery.channels import Channels, Line
    from pulse_core.outbox import Attempt, ClaimedDelivery, ClaimRoom
    from pulse_core.ports import Clock
    from pulse_core.schedule import Schedule

log = structlog.get_logger("pulse.delivery")

_US = 1_000_000
_SLACK_S = 2.0
LOST = "the worker ended before it could say what came of this attempt: whether it was delivered is unknown"
STOPPED = "the platform stopped before the receiver answered: whether it was delivered is unknown"


@dataclass(eq=False, slots=True)
class Job:
    """A claimed delivery with the line to its integration. It must be started before ``start_by_s`` (monotonic)."""

    claimed: ClaimedDelivery
    line: Line
    breaker: Breaker
    start_by_s: float


class Desk:
    """Runs attempts; what came of each goes to ``done``.

    :param changed: told of the integrations for which there is room for more.
    """

    def __init__(
        self,
        channels: Channels,
        breakers: Breakers,
        clock: Clock,
        *,
        workers: int,
        per_endpoint: int,
        timeout_s: float,
        schedule: Schedule,
        random: Callable[[], float],
        done: Callable[[Attempt], None],
        changed: Callable[[AbstractSet[uuid.UUID]], None],
    ) -> None:
        self._channels = channels
        self._breakers = breakers
        self._clock = clock
        self._workers = workers
        self._timeout_s = timeout_s
        self._schedule = schedule
        self._random = random
        self._done = done
        self._changed = changed
        self._endpoints: Endpoints[Job] = Endpoints(per_endpoint, max(1, workers // 2))
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._jobs = 0
        self._open = True
        self.tenants: Counter[str] = Counter()
        """How many deliveries each tenant has here."""
        self.held: set[uuid.UUID] = set()
        """What is ours until it is recorded, or given back."""
        self.stale = False
        """Some deliveries waited too long for their endpoint: they are no longer held and are to be given back."""

    @property
    def free(self) -> int:
        """How many more deliveries may be claimed."""
        return self._workers - self._jobs

    @property
    def running(self) -> int:
        """How many attempts are running."""
        return len(self._tasks)

    def rooms(self) -> list[ClaimRoom]:
        """Say what a claim must know: see :meth:`Endpoints.rooms` and :meth:`Breakers.rooms`."""
        BREAKERS_OPEN.set(self._breakers.open_count)
        return self._endpoints.rooms(self._breakers.rooms(self._clock.now_us()))

    def accept(self, deliveries: Sequence[ClaimedDelivery], lease_s: float) -> int:
        """Start them, or let them wait for a place at their endpoint. Return how many need no attempt at all."""
        not_tried = 0
        start_by_s = time.monotonic() + lease_s - self._timeout_s - _SLACK_S
        for claimed in deliveries:
            self.held.add(claimed.delivery_id)
            test = claimed.cause == Cause.TEST
            line = self._channels.take(claimed.integration, even_disabled=test)
            if isinstance(line, Ending):
                self._not_tried(claimed, line)
                not_tried += 1
                continue
            integration_id = claimed.integration.integration_id
            endpoint = self._endpoints.of(line.endpoint, integration_id)
            breaker = self._breakers.of(claimed.tenant_id, line.endpoint, integration_id)
            job = Job(claimed, line, breaker, start_by_s)
            if test:  # a person is waiting for it
                endpoint.waiting.appendleft(job)
            else:
                endpoint.waiting.append(job)
            self._begin(job)
            self._start(endpoint)
        return not_tried

    def lost(self, claimed: ClaimedDelivery) -> None:
        """Conclude an attempt whose worker is gone. The next one is due by the schedule since its start."""
        self.held.add(claimed.delivery_id)
        plugin = self._channels.plugin_of(claimed.integration)
        ATTEMPTS.labels(plugin, "LOST").inc()
        self._conclude(claimed, temporary(LOST), claimed.claimed_us, claimed.claimed_us)

    def recorded(self, attempts: Sequence[Attempt]) -> None:
        """Let go of what is committed."""
        self.held.difference_update(attempt.delivery_id for attempt in attempts)

    def close(self) -> None:
        """Start nothing more; what only waits is no longer held."""
        self._open = False
        for endpoint in self._endpoints.all():
            while endpoint.waiting:
                self._let_go(endpoint.waiting.popleft())

    async def finish(self, within_s: float) -> None:
        """Wait for what runs, then interrupt it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        self.interrupt()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def interrupt(self) -> None:
        """Cancel what runs."""
        for task in self._tasks:
            task.cancel()

    def _start(self, endpoint: Endpoint[Job]) -> None:
        while self._open and endpoint.waiting and endpoint.running < endpoint.limit:
            job = endpoint.waiting.popleft()
            if time.monotonic() > job.start_by_s:
                self.stale = True
                self._let_go(job)
                continue
            endpoint.running += 1
            IN_FLIGHT.inc()
            task = asyncio.get_running_loop().create_task(self._run(job, endpoint))
            self._tasks[task] = job
            task.add_done_callback(lambda task: self._ended(task, endpoint))

    async def _run(self, job: Job, endpoint: Endpoint[Job]) -> None:
        started_us, started_s = self._clock.now_us(), time.monotonic()
        due_us = None
        try:
            ending = await attempt(job.claimed, job.line, endpoint, self._channels, self._timeout_s)
        except asyncio.CancelledError:
            ending, due_us = temporary(STOPPED), self._clock.now_us()
        else:
            if self._breakers.ended(job.breaker, ending.outcome, self._clock.now_us(), storable(ending.detail)):
                self._leave_alone(endpoint, job.breaker)
        ended_s = time.monotonic()
        took_s = ended_s - started_s
        endpoint.answered(took_s, ended_s)
        ATTEMPT_SECONDS.labels(job.line.plugin).observe(took_s)
        ATTEMPTS.labels(job.line.plugin, ending.outcome).inc()
        self._conclude(job.claimed, ending, started_us, started_us + round(took_s * _US), due_us)

    def _ended(self, task: asyncio.Task[None], endpoint: Endpoint[Job]) -> None:
        job = self._tasks.pop(task)
        endpoint.running -= 1
        IN_FLIGHT.dec()
        self._end(job)
        self._start(endpoint)
        self._changed(endpoint.integrations)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery.attempt_failed", delivery_id=str(job.claimed.delivery_id), exc_info=error)
            self.held.discard(job.claimed.delivery_id)
            self.stale = True

    def _not_tried(self, claimed: ClaimedDelivery, ending: Ending) -> None:
        plugin = self._channels.plugin_of(claimed.integration)
        if ending.broke_rules:
            report(claimed, plugin, ending)
        ATTEMPTS.labels(plugin, ending.outcome).inc()
        now_us = self._clock.now_us()
        self._conclude(claimed, ending, now_us, now_us)

    def _conclude(
        self,
        claimed: ClaimedDelivery,
        ending: Ending,
        started_us: int,
        failed_us: int,
        due_us: int | None = None,
    ) -> None:
        attempt = conclude(
            claimed,
            ending,
            started_us=started_us,
            failed_us=failed_us,
            schedule=self._schedule,
            random=self._random(),
            due_us=due_us,
        )
        self._done(attempt)

    def _leave_alone(self, endpoint: Endpoint[Job], breaker: Breaker) -> None:
        """Give back what waits behind a breaker that is open now."""
        blocked = [job for job in endpoint.waiting if job.breaker is breaker and job.claimed.cause != Cause.TEST]
        for job in blocked:
            endpoint.waiting.remove(job)
            self._let_go(job)
        self.stale = self.stale or bool(blocked)

    def _let_go(self, job: Job) -> None:
        self.held.discard(job.claimed.delivery_id)
        self._end(job)

    def _begin(self, job: Job) -> None:
        self._jobs += 1
        job.breaker.under_way += 1
        self.tenants[job.claimed.tenant_id] += 1

    def _end(self, job: Job) -> None:
        self._channels.release(job.line)
        self._jobs -= 1
        job.breaker.under_way -= 1
        self.tenants[job.claimed.tenant_id] -= 1
        if not self.tenants[job.claimed.tenant_id]:
            del self.tenants[job.claimed.tenant_id]
