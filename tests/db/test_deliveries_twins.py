"""Whatever is done to them, the in-memory outbox and PostgreSQL say the same: engine tests on the twin count."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from pulse_core.outbox import Attempt, AttemptOutcome, ClaimedDelivery
from pulse_core.records import DeliveryStatus
from support.outbox import T0_US, MemoryOutbox, Outbox, PostgresOutbox, S, State, make

if TYPE_CHECKING:
    from pulse_core.outbox import StoredIntegration
    from pulse_core.records import Delivery
    from support.database import Database

LEASE_US = 30 * S
STEPS = 250


class Twins:
    """Does the same to both, and compares."""

    def __init__(self, seed: int, memory: MemoryOutbox, postgres: PostgresOutbox) -> None:
        self.dice = random.Random(seed)
        self.both: tuple[Outbox, Outbox] = (memory, postgres)
        self.memory = memory
        self.postgres = postgres
        self.now_us = T0_US
        self.integrations: list[StoredIntegration] = []
        self.alerts = [uuid.uuid4() for _ in range(6)]
        self.deliveries: list[Delivery] = []
        self.claimed: list[tuple[str, ClaimedDelivery]] = []

    async def begin(self) -> None:
        for tenant in ("tenant-a", "tenant-a", "tenant-b"):
            integration = await self.postgres.integrate(tenant)
            self.memory.store.integrations[integration.integration_id] = integration
            self.integrations.append(integration)

    async def insert(self) -> None:
        integration = self.dice.choice(self.integrations)
        cause = self.dice.choice(["alert", "alert", "alert", "repeat", "test"])
        alert = None if cause == "test" else self.dice.choice(self.alerts)
        if alert is not None and integration.tenant_id == "tenant-b":
            alert = uuid.uuid5(alert, "of tenant-b")
        event = self.dice.choice(["OPEN", "ACKNOWLEDGED", "CLOSED"])
        due_us = self.now_us + self.dice.choice([-S, 0, 20 * S])
        delivery = make(integration, event, alert, due_us, cause)
        self.deliveries.append(delivery)
        for outbox in self.both:
            await outbox.insert([delivery])

    async def claim(self) -> None:
        worker = self.dice.choice(["w1", "w2"])
        claims = [
            await outbox.store.claim(
                worker, now_us=self.now_us, lease_until_us=self.now_us + LEASE_US, limit=500, per_endpoint=500
            )
            for outbox in self.both
        ]
        found = [{each.delivery_id: each for each in claim.deliveries} for claim in claims]
        assert found[0].keys() == found[1].keys()
        for delivery_id, one in found[0].items():
            other = msgspec.structs.replace(found[1][delivery_id], notification_json=one.notification_json)
            assert one == other
        assert claims[0].cancelled == claims[1].cancelled
        self.claimed += [(worker, each) for each in claims[0].deliveries]

    async def record(self) -> None:
        for worker, claimed in self.dice.sample(self.claimed, min(3, len(self.claimed))):
            self.claimed.remove((worker, claimed))
            status = self.dice.choice([DeliveryStatus.DELIVERED, DeliveryStatus.RETRYING, DeliveryStatus.DEAD])
            attempt = Attempt(
                tenant_id=claimed.tenant_id,
                delivery_id=claimed.delivery_id,
                attempt=claimed.attempt,
                started_us=claimed.claimed_us,
                duration_ms=3,
                outcome=AttemptOutcome.TEMPORARY,
                status=status,
                detail=str(status),
                due_us=self.now_us + 5 * S if status == DeliveryStatus.RETRYING else None,
                integration_id=claimed.integration.integration_id,
                integration_updated_us=claimed.integration.updated_us,
            )
            for outbox in self.both:
                await outbox.store.record(worker, [attempt], now_us=self.now_us)

    async def give_back(self) -> None:
        worker = self.dice.choice(["w1", "w2"])
        keep = [each.delivery_id for name, each in self.claimed if name == worker][::2]
        counts = [await outbox.store.give_back(worker, keep=keep) for outbox in self.both]
        assert counts[0] == counts[1]
        self.claimed = [(w, each) for w, each in self.claimed if w != worker or each.delivery_id in keep]

    async def take_over(self) -> None:
        worker = self.dice.choice(["w1", "w2"])
        lost = [
            await outbox.store.take_over(worker, now_us=self.now_us, lease_until_us=self.now_us + LEASE_US, limit=500)
            for outbox in self.both
        ]
        found = [{each.delivery_id: (each.attempt, each.claimed_us) for each in some} for some in lost]
        assert found[0] == found[1]
        self.claimed += [(worker, each) for each in lost[0]]

    async def pass_time(self) -> None:
        self.now_us += self.dice.choice([S, 10 * S, 40 * S])

    async def compare(self) -> None:
        for delivery in self.deliveries:
            states = [bare(await outbox.state(delivery)) for outbox in self.both]
            assert states[0] == states[1], delivery
        due = [await outbox.store.next_due_us("w1", now_us=self.now_us) for outbox in self.both]
        assert due[0] == due[1]


def bare(state: State) -> State:
    """Without the words."""
    return msgspec.structs.replace(state, last_error=None)


@pytest.mark.parametrize("seed", range(4))
async def test_the_twins_agree(seed: int, database: Database) -> None:
    postgres = await PostgresOutbox.open(database)
    twins = Twins(seed, MemoryOutbox(), postgres)
    await twins.begin()
    steps = [twins.insert, twins.insert, twins.claim, twins.record, twins.record, twins.pass_time]
    try:
        for number in range(STEPS):
            rare = number % 10 == 9
            await twins.dice.choice([twins.give_back, twins.take_over] if rare else steps)()
            if number % 10 == 0:
                await twins.compare()
        await twins.compare()
    finally:
        await postgres.close()
