"""The in-memory twin of the delivery store: same promises, plain lists. The contract tests run on both."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from pulse_core.errors import StoreUnavailable
from pulse_core.outbox import Attempt, Claim, ClaimedDelivery, OpenBreaker, StoredIntegration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from pulse_core.outbox import BreakerChanges, ClaimRoom
    from pulse_core.records import Delivery

RANK = {"OPEN": 1, "ACKNOWLEDGED": 2, "CLOSED": 3}
OF_AN_ALERT = ("alert", "fallback")
UNFINISHED = ("PENDING", "SENDING", "RETRYING")
_numbers = itertools.count()


@dataclass(eq=False)
class Row:
    """A row of the outbox."""

    delivery: Delivery
    notification_json: str
    due_us: int
    status: str = "PENDING"
    attempts: int = 0
    first_attempt_us: int | None = None
    leased_by: str | None = None
    lease_until_us: int | None = None
    finished_us: int | None = None
    last_error: str | None = None
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def waiting(self) -> bool:
        return self.status in ("PENDING", "RETRYING")

    @property
    def subject(self) -> tuple[str, uuid.UUID, uuid.UUID] | None:
        delivery = self.delivery
        if delivery.alert_id is None:
            return None
        return delivery.tenant_id, delivery.alert_id, delivery.integration_id

    @property
    def rank(self) -> int:
        return RANK[self.delivery.event]


class MemoryDeliveries:
    """Set ``down`` and nobody answers."""

    def __init__(self) -> None:
        self.rows: dict[uuid.UUID, Row] = {}
        self.integrations: dict[uuid.UUID, StoredIntegration] = {}
        self.attempts: dict[uuid.UUID, dict[int, Attempt]] = defaultdict(dict)
        self.fallbacks: dict[uuid.UUID, tuple[uuid.UUID, float]] = {}
        """By route: its second integration, and after how long (s)."""
        self.open: dict[tuple[str, uuid.UUID], OpenBreaker] = {}
        self.down = False
        self.claims = 0
        self.clock_us = 0
        self._listeners: set[asyncio.Event] = set()
        self._edited: list[tuple[str, uuid.UUID]] = []

    def add(self, delivery: Delivery, notification_json: str | None = None) -> None:
        """What the pipeline does."""
        text = notification_json or msgspec.json.encode(delivery.notification).decode()
        self.rows[delivery.delivery_id] = Row(delivery, text, delivery.due_us)
        self._notify()

    def edited(self, integration: StoredIntegration) -> None:
        """What editing an integration tells the engine (one listener only)."""
        self._edited.append((integration.tenant_id, integration.integration_id))
        self._notify()

    async def claim(
        self,
        worker: str,
        *,
        now_us: int,
        lease_until_us: int,
        limit: int,
        per_endpoint: int,
        rooms: Sequence[ClaimRoom] = (),
        running: Mapping[str, int] | None = None,
    ) -> Claim:
        await self._answer()
        self.claims += 1
        tests = [row for row in self.rows.values() if row.delivery.cause == "test" and row.status == "PENDING"]
        tests = sorted((row for row in tests if row.due_us <= now_us), key=lambda row: row.due_us)[:limit]
        for row in tests:
            self._lease(row, worker, now_us, lease_until_us)
        limit -= len(tests)
        picked = self._pick(now_us, limit, per_endpoint, {room.integration_id: room for room in rooms}, running or {})
        told = sum(self._tell(row, now_us) for row in picked)
        ready = [row for row in picked if row.waiting]
        blocked = {row for row in ready if self._before(row)}
        for row in blocked:
            again = [one.lease_until_us or one.due_us for one in self._before(row)]
            row.due_us = max(lease_until_us, *again)
        going = [row for row in ready if row not in blocked]
        moved = [row for row in going if self._follows(row) and self._stand_in(row, now_us, cancel=True)]
        taken = [row for row in going if row not in moved]
        for row in taken:
            self._lease(row, worker, now_us, lease_until_us)
        more = len(picked) >= limit or len(taken) < len(picked)
        claimed = [self._claimed(row, now_us) for row in (*tests, *taken)]
        return Claim(claimed, more=more, cancelled=told + len(moved))

    async def take_over(self, worker: str, *, now_us: int, lease_until_us: int, limit: int) -> list[ClaimedDelivery]:
        await self._answer()
        result = []
        for row in self.rows.values():
            lease = row.lease_until_us
            if row.status == "SENDING" and row.leased_by != worker and lease is not None and lease < now_us:
                claimed_us = row.first_attempt_us if row.attempts == 1 else lease - (lease_until_us - now_us)
                row.leased_by, row.lease_until_us = worker, lease_until_us
                result.append(self._claimed(row, claimed_us or 0))
        return result[:limit]

    async def record(
        self, worker: str, attempts: Sequence[Attempt], *, now_us: int, breakers: BreakerChanges | None = None
    ) -> None:
        await self._answer()
        for key, row in (breakers or {}).items():
            self.open.pop(key, None)
            if row is not None:
                self.open[key] = row
        self._record(worker, attempts, now_us)

    async def breakers(self) -> list[OpenBreaker]:
        await self._answer()
        return list(self.open.values())

    async def hand_over(self, *, now_us: int) -> int:
        await self._answer()
        moved = 0
        for row in list(self.rows.values()):
            delivery = row.delivery
            breaker = self.open.get((delivery.tenant_id, delivery.integration_id))
            if not row.waiting or breaker is None or delivery.route_id not in self.fallbacks:
                continue
            if max(row.due_us, breaker.probe_us) <= now_us:
                continue
            second, after_s = self.fallbacks[delivery.route_id]
            if breaker.opened_us + after_s * 1_000_000 <= now_us and (delivery.tenant_id, second) not in self.open:
                moved += self._stand_in(row, now_us, cancel=True)
        return moved

    def _record(self, worker: str, attempts: Sequence[Attempt], now_us: int) -> None:
        for attempt in attempts:
            row = self.rows.get(attempt.delivery_id)
            if row is None:
                continue
            self.attempts[attempt.delivery_id].setdefault(attempt.attempt, attempt)
            ours = (row.status, row.leased_by, row.attempts) == ("SENDING", worker, attempt.attempt)
            if ours or (attempt.status == "DELIVERED" and row.status == "RETRYING"):
                self._finish(row, attempt, now_us)
            if attempt.disable is not None:
                self._disable(attempt)

    async def give_back(self, worker: str, *, keep: Sequence[uuid.UUID]) -> int:
        await self._answer()
        rows = [
            row
            for row in self.rows.values()
            if row.status == "SENDING" and row.leased_by == worker and row.delivery.delivery_id not in keep
        ]
        for row in rows:
            row.status = "RETRYING" if row.attempts > 1 else "PENDING"
            row.first_attempt_us = row.first_attempt_us if row.attempts > 1 else None
            row.attempts -= 1
            row.leased_by = row.lease_until_us = None
        if rows:
            self._notify()
        return len(rows)

    async def next_due_us(self, worker: str, *, now_us: int) -> int | None:
        await self._answer()
        moments = [row.due_us for row in self.rows.values() if row.waiting and row.due_us > now_us]
        moments += [
            row.lease_until_us
            for row in self.rows.values()
            if row.status == "SENDING" and row.leased_by != worker and row.lease_until_us is not None
        ]
        return min(moments, default=None)

    async def wakeups(self) -> AsyncIterator[tuple[str, uuid.UUID] | None]:
        event = asyncio.Event()
        event.set()
        self._listeners.add(event)
        try:
            while True:
                await event.wait()
                event.clear()
                if self.down:
                    raise StoreUnavailable("switched off")
                for edited in self._edited:
                    yield edited
                self._edited.clear()
                yield None
        finally:
            self._listeners.discard(event)

    def _lease(self, row: Row, worker: str, now_us: int, lease_until_us: int) -> None:
        row.status, row.leased_by, row.lease_until_us = "SENDING", worker, lease_until_us
        row.attempts += 1
        row.first_attempt_us = row.first_attempt_us or now_us

    def _follows(self, row: Row) -> bool:
        """Whether an earlier notification of the same alert and route went to the fallback."""
        delivery = row.delivery
        return (
            delivery.cause == "alert"
            and delivery.event != "OPEN"
            and any(
                one.delivery.cause == "fallback"
                and (one.delivery.alert_id, one.delivery.route_id) == (delivery.alert_id, delivery.route_id)
                for one in self.rows.values()
            )
        )

    def _stand_in(self, row: Row, now_us: int, *, cancel: bool) -> bool:
        """Make the fallback delivery of a primary one, if there may be one; say whether."""
        delivery = row.delivery
        second = self.fallbacks.get(delivery.route_id) if delivery.route_id else None
        told = any(
            one.status == "DELIVERED" and one.delivery.cause == "alert" and one.delivery.route_id == delivery.route_id
            for one in self.rows.values()
            if one.subject == row.subject
        )
        if delivery.cause != "alert" or second is None or told or not self.integrations[second[0]].enabled:
            return False
        made = msgspec.structs.replace(
            delivery,
            delivery_id=uuid.uuid4(),
            integration_id=second[0],
            cause="fallback",
            caused_by=delivery.delivery_id,
            due_us=now_us,
        )
        note = msgspec.structs.replace(delivery.notification, delivery_id=str(made.delivery_id))
        self.add(msgspec.structs.replace(made, notification=note))
        if cancel:
            row.status, row.finished_us = "CANCELLED", now_us
            row.last_error = f"handed to the fallback as delivery {made.delivery_id}"
            self._let_next_go(row, now_us)
        return True

    def _pick(
        self,
        now_us: int,
        limit: int,
        per_endpoint: int,
        rooms: dict[uuid.UUID, ClaimRoom],
        running: Mapping[str, int],
    ) -> list[Row]:
        due = [row for row in self.rows.values() if row.waiting and row.due_us <= now_us]
        due.sort(key=lambda row: (row.due_us, row.number))
        turns = Counter(running)
        ranked = []
        for row in due:
            turns[row.delivery.tenant_id] += 1
            ranked.append((turns[row.delivery.tenant_id], row.due_us, row.number, row))
        taken: Counter[str] = Counter()
        result: list[Row] = []
        for *_, row in sorted(ranked, key=lambda each: each[:3]):
            room = rooms.get(row.delivery.integration_id)
            endpoint = room.endpoint if room else str(row.delivery.integration_id)
            if len(result) < limit and taken[endpoint] < (room.room if room else per_endpoint):
                taken[endpoint] += 1
                result.append(row)
        return result

    def _subject(self, row: Row) -> list[Row]:
        return [
            one
            for one in self.rows.values()
            if one is not row and row.subject and one.subject == row.subject and one.status in UNFINISHED
        ]

    def _before(self, row: Row) -> list[Row]:
        return [one for one in self._subject(row) if one.rank < row.rank]

    def _tell(self, row: Row, now_us: int) -> int:
        """Let a CLOSED that is due tell what was never attempted; return how many it tells."""
        subject = (row, *self._subject(row))
        closing = [
            one
            for one in subject
            if one.waiting
            and one.delivery.event == "CLOSED"
            and one.delivery.cause in OF_AN_ALERT
            and one.due_us <= now_us
        ]
        told = 0
        for one in subject if closing else ():
            primary = one.delivery.cause in OF_AN_ALERT and one.delivery.event != "CLOSED"
            if primary and one.status == "PENDING" and one.attempts == 0:
                one.status, one.finished_us, told = "CANCELLED", now_us, told + 1
                one.last_error = f"told by delivery {closing[0].delivery.delivery_id}"
        return told

    def _finish(self, row: Row, attempt: Attempt, now_us: int) -> None:
        row.status = str(attempt.status)
        row.leased_by = row.lease_until_us = None
        row.last_error = attempt.detail or None
        if attempt.due_us is not None:
            row.due_us = attempt.due_us
        if row.status == "RETRYING":
            return
        row.finished_us = now_us
        if row.status == "DEAD":
            self._stand_in(row, now_us, cancel=False)
        self._let_next_go(row, now_us)

    def _let_next_go(self, row: Row, now_us: int) -> None:
        for one in self._subject(row):
            if one.status == "PENDING" and one.rank > row.rank:
                one.due_us = min(one.due_us, now_us)
                self._notify()

    def _disable(self, attempt: Attempt) -> None:
        assert attempt.integration_id is not None
        integration = self.integrations[attempt.integration_id]
        if integration.enabled and integration.updated_us == attempt.integration_updated_us:
            self.integrations[attempt.integration_id] = msgspec.structs.replace(
                integration,
                enabled=False,
                disabled_reason=attempt.disable,
                updated_us=integration.updated_us + 1,
            )

    def _claimed(self, row: Row, claimed_us: int) -> ClaimedDelivery:
        delivery = row.delivery
        return ClaimedDelivery(
            tenant_id=delivery.tenant_id,
            delivery_id=delivery.delivery_id,
            integration=self.integrations[delivery.integration_id],
            event=str(delivery.event),
            cause=delivery.cause,
            notification_json=row.notification_json,
            attempt=row.attempts,
            first_attempt_us=row.first_attempt_us or claimed_us,
            claimed_us=claimed_us,
        )

    def _notify(self) -> None:
        for event in self._listeners:
            event.set()

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("switched off")


def lost_connection(store: MemoryDeliveries) -> None:
    """Cut the listeners off, as a database that goes away does."""
    store.down = True
    for event in store._listeners:
        event.set()
