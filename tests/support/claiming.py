"""Claiming and recording by hand, for tests of the delivery store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.outbox import Attempt, AttemptOutcome, Claim, ClaimedDelivery, ClaimRoom
from pulse_core.records import DeliveryStatus
from support.outbox import T0_US, Outbox, S, make

if TYPE_CHECKING:
    import uuid

    from pulse_core.outbox import StoredIntegration
    from pulse_core.records import Delivery

NOW = T0_US + 60 * S
LEASE_US = 30 * S


async def claim(
    outbox: Outbox,
    worker: str = "w1",
    *,
    now_us: int = NOW,
    limit: int = 100,
    per_endpoint: int = 10,
    rooms: tuple[ClaimRoom, ...] = (),
    running: dict[str, int] | None = None,
) -> Claim:
    return await outbox.store.claim(
        worker,
        now_us=now_us,
        lease_until_us=now_us + LEASE_US,
        limit=limit,
        per_endpoint=per_endpoint,
        rooms=rooms,
        running=running,
    )


async def record(
    outbox: Outbox,
    claimed: ClaimedDelivery,
    status: DeliveryStatus,
    *,
    worker: str = "w1",
    now_us: int = NOW,
    due_us: int | None = None,
    detail: str = "",
    disable: str | None = None,
) -> None:
    outcome = {
        DeliveryStatus.DELIVERED: AttemptOutcome.DELIVERED,
        DeliveryStatus.RETRYING: AttemptOutcome.TEMPORARY,
        DeliveryStatus.DEAD: AttemptOutcome.PERMANENT,
    }[status]
    attempt = Attempt(
        tenant_id=claimed.tenant_id,
        delivery_id=claimed.delivery_id,
        attempt=claimed.attempt,
        started_us=claimed.claimed_us + 5,
        duration_ms=7,
        outcome=outcome,
        status=status,
        detail=detail,
        receipt="got it" if status == DeliveryStatus.DELIVERED else "",
        due_us=due_us,
        disable=disable,
        integration_id=claimed.integration.integration_id,
        integration_updated_us=claimed.integration.updated_us,
    )
    await outbox.store.record(worker, [attempt], now_us=now_us)


def ids(claim: Claim) -> set[uuid.UUID]:
    return {each.delivery_id for each in claim.deliveries}


async def fill(outbox: Outbox, integration: StoredIntegration, count: int, *, first_us: int = T0_US) -> list[Delivery]:
    deliveries = [make(integration, due_us=first_us + i) for i in range(count)]
    await outbox.insert(deliveries)
    return deliveries
