"""What a claim and a record cost while thousands wait: rows read in proportion to what is claimed, whatever PostgreSQL
knows of the table. A storm meets a planner whose statistics are of the time before it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.outbox import Attempt, AttemptOutcome
from pulse_core.records import DeliveryStatus
from pulse_postgres.delivery import claim as claiming
from pulse_postgres.delivery import fallback
from pulse_postgres.delivery import record as recording
from support.claiming import LEASE_US, NOW
from support.outbox import PostgresOutbox, S, make

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    from pulse_core.outbox import ClaimedDelivery, StoredIntegration
    from pulse_core.records import Delivery
    from support.database import Database

WAITING = 3000
CLAIMED = 100
MOST_ROWS = 40
"""Read for each delivery that is claimed, or recorded: in fact some ten."""


class Reading:
    """A connection that counts the rows which its statements look at."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.rows: dict[str, float] = {}

    async def fetch(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._connection.fetch(query, *arguments)

    async def execute(self, query: str, *arguments: Any) -> Any:
        await self._explain(query, arguments)
        return await self._connection.execute(query, *arguments)

    async def _explain(self, query: str, arguments: Any) -> None:
        trial = self._connection.transaction()
        await trial.start()
        plan = await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
        await trial.rollback()
        self.rows[query] = rows_read(msgspec.json.decode(plan)[0]["Plan"])


def rows_read(plan: dict[str, Any]) -> float:
    """Rows that the scans of a plan looked at, filtered ones included."""
    own = 0.0
    if "Scan" in plan["Node Type"]:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(rows_read(child) for child in plan.get("Plans", ()))


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[PostgresOutbox]:
    opened = await PostgresOutbox.open(database)
    yield opened
    await opened.close()


@asynccontextmanager
async def reading(outbox: PostgresOutbox) -> AsyncIterator[Reading]:
    async with outbox._pool.acquire() as connection, connection.transaction():
        watched = Reading(connection)
        yield watched
    costly = {query: rows for query, rows in watched.rows.items() if rows > MOST_ROWS * CLAIMED}
    assert watched.rows
    assert not costly


async def crowd(outbox: PostgresOutbox, integrations: int = 1) -> list[Delivery]:
    """Thousands of deliveries that wait, spread over so many integrations of one tenant."""
    made = [await outbox.integrate() for _ in range(integrations)]
    deliveries = [make(made[number % integrations]) for number in range(WAITING)]
    await outbox.insert(deliveries)
    return deliveries


async def claim(connection: Any, per_endpoint: int) -> list[ClaimedDelivery]:
    claimed = await claiming.claim(
        connection,
        "w1",
        now_us=NOW,
        lease_until_us=NOW + LEASE_US,
        limit=CLAIMED,
        per_endpoint=per_endpoint,
        rooms=[],
        running={},
    )
    return claimed.deliveries


def ended(claimed: ClaimedDelivery, status: DeliveryStatus) -> Attempt:
    return Attempt(
        tenant_id=claimed.tenant_id,
        delivery_id=claimed.delivery_id,
        attempt=claimed.attempt,
        started_us=NOW,
        duration_ms=1,
        outcome=AttemptOutcome.DELIVERED if status is DeliveryStatus.DELIVERED else AttemptOutcome.PERMANENT,
        status=status,
    )


@pytest.mark.parametrize("analysed", [False, True], ids=["no statistics", "statistics"])
@pytest.mark.parametrize("integrations", [1, 20])
async def test_claiming_and_recording_read_what_they_claim_and_record(
    outbox: PostgresOutbox, integrations: int, analysed: bool
) -> None:
    await crowd(outbox, integrations)
    if analysed:
        await outbox._admin.execute("ANALYZE")
    async with reading(outbox) as connection:
        claimed = await claim(connection, CLAIMED // min(10, integrations))
        assert len(claimed) == CLAIMED
    async with reading(outbox) as connection:
        await recording.record(
            connection,  # type: ignore[arg-type]
            "w1",
            [ended(one, DeliveryStatus.DELIVERED) for one in claimed],
            NOW,
        )


async def test_what_is_merely_waiting_costs_nothing(outbox: PostgresOutbox) -> None:
    """A thousand dead endpoints, each tried again tomorrow."""
    for _ in range(1000):
        await outbox.insert([make(await outbox.integrate(), due_us=NOW + 86_400 * S)])
    due = [make(await outbox.integrate()) for _ in range(3)]
    await outbox.insert(due)
    async with outbox._pool.acquire() as connection, connection.transaction():
        watched = Reading(connection)
        assert {one.delivery_id for one in await claim(watched, 10)} == {one.delivery_id for one in due}
    assert sum(watched.rows.values()) < 200


async def test_standing_in_for_the_dead_reads_what_it_stands_in_for(outbox: PostgresOutbox) -> None:
    deliveries = await crowd(outbox)
    await route(outbox, deliveries, await outbox.integrate())
    await outbox._admin.execute(
        "UPDATE deliveries SET status = 'DELIVERED' WHERE NOT delivery_id = ANY($1)", dead(deliveries)
    )
    async with reading(outbox) as connection:
        made = await fallback.stand_in(
            connection,  # type: ignore[arg-type]
            [(one.tenant_id, one.delivery_id) for one in deliveries[:CLAIMED]],
            NOW,
        )
    assert len(made) == CLAIMED


def dead(deliveries: list[Delivery]) -> list[uuid.UUID]:
    return [one.delivery_id for one in deliveries[:CLAIMED]]


async def route(outbox: PostgresOutbox, deliveries: list[Delivery], second: StoredIntegration) -> None:
    """Make the routes of the first deliveries, each with ``second`` as its fallback."""
    for one in deliveries[:CLAIMED]:
        await outbox._admin.execute(
            "INSERT INTO integration_routes (tenant_id, route_id, integration_id, fallback_integration_id)"
            " VALUES ($1, $2, $3, $4)",
            one.tenant_id,
            one.route_id,
            one.integration_id,
            second.integration_id,
        )
