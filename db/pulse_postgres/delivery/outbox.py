"""The outbox, as the delivery engine works it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pulse_core.notices import Kind
from pulse_core.records import DeliveryStatus
from pulse_postgres.delivery.breakers import read_breakers, write_breakers
from pulse_postgres.delivery.claim import RETURNING, WAITING, claim, claimed_of
from pulse_postgres.delivery.fallback import hand_over, stand_in
from pulse_postgres.delivery.record import TOPIC, record
from pulse_postgres.pool import CONNECT_TIMEOUT_S, listen, unavailable
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    import asyncpg

    from pulse_core.notices import Board
    from pulse_core.outbox import Attempt, BreakerChanges, Claim, ClaimedDelivery, ClaimRoom, OpenBreaker

_TAKE_OVER = f"""
    UPDATE deliveries d SET leased_by = $1, lease_until = {at("$3::bigint")}
    FROM (SELECT tenant_id AS t, delivery_id AS d, {us("lease_until")} AS lease_us FROM deliveries
          WHERE status = 'SENDING' AND lease_until < {at("$2::bigint")} AND leased_by <> $1
          ORDER BY lease_until LIMIT $4 FOR UPDATE SKIP LOCKED) k, integrations i
    WHERE d.tenant_id = k.t AND d.delivery_id = k.d
      AND i.tenant_id = d.tenant_id AND i.integration_id = d.integration_id
    {RETURNING}
"""

_GIVE_BACK = f"""
    WITH back AS (
        UPDATE deliveries SET leased_by = NULL, lease_until = NULL, attempts = attempts - 1,
            status = CASE WHEN attempts > 1 THEN 'RETRYING' ELSE 'PENDING' END,
            first_attempt_at = CASE WHEN attempts > 1 THEN first_attempt_at END
        WHERE status = 'SENDING' AND leased_by = $1 AND NOT delivery_id = ANY($2::uuid[])
        RETURNING 1), counted AS (SELECT count(*)::integer AS n FROM back)
    SELECT n, CASE WHEN n > 0 THEN pg_notify('{TOPIC}', '') END FROM counted
"""

_NEXT_DUE = f"""
    SELECT {us("LEAST(waiting, leased)")} FROM
        (SELECT min(due_at) AS waiting FROM deliveries WHERE {WAITING} AND due_at > {at("$2::bigint")}) w,
        (SELECT min(lease_until) AS leased FROM deliveries WHERE status = 'SENDING' AND leased_by <> $1) l
"""


class PostgresDeliveries:
    """The :class:`~pulse_core.ports.DeliveryStore` in PostgreSQL, as the role ``pulse_deliver``."""

    def __init__(self, pool: asyncpg.Pool, dsn: str, board: Board | None = None) -> None:
        """``board``: for what becomes of deliveries."""
        self._pool = pool
        self._dsn = dsn
        self._board = board

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
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection, connection.transaction():
                claimed = await claim(
                    connection,
                    worker,
                    now_us=now_us,
                    lease_until_us=lease_until_us,
                    limit=limit,
                    per_endpoint=per_endpoint,
                    rooms=rooms,
                    running=running or {},
                )
        self._tell((each.tenant_id, str(each.delivery_id)) for each in claimed.deliveries)
        return claimed

    async def take_over(self, worker: str, *, now_us: int, lease_until_us: int, limit: int) -> list[ClaimedDelivery]:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            rows = await self._pool.fetch(_TAKE_OVER, worker, now_us, lease_until_us, limit)
        lease_us = lease_until_us - now_us
        return claimed_of(
            rows,
            lambda row: row["first_attempt_us"] if row["attempts"] == 1 else row["lease_us"] - lease_us,
        )

    async def record(
        self, worker: str, attempts: Sequence[Attempt], *, now_us: int, breakers: BreakerChanges | None = None
    ) -> None:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection, connection.transaction():
                finished = await record(connection, worker, attempts, now_us)
                dead = [row for row in finished if row["status"] == DeliveryStatus.DEAD and row["cause"] == "alert"]
                await stand_in(connection, [(row["tenant_id"], row["delivery_id"]) for row in dead], now_us)
                await write_breakers(connection, breakers or {})
        self._tell((attempt.tenant_id, str(attempt.delivery_id)) for attempt in attempts)
        self._tell(
            ((each.tenant_id, str(each.integration_id)) for each in attempts if each.disable is not None),
            Kind.INTEGRATIONS,
        )

    def _tell(self, changed: Iterable[tuple[str, str]], kind: Kind = Kind.DELIVERIES) -> None:
        """Tell whoever looks on which things of which tenants have changed."""
        if self._board is not None:
            for tenant_id, id_ in changed:
                self._board.note(tenant_id, kind, (id_,))

    async def breakers(self) -> list[OpenBreaker]:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            return await read_breakers(self._pool)

    async def hand_over(self, *, now_us: int) -> int:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection, connection.transaction():
                return await hand_over(connection, now_us)

    async def give_back(self, worker: str, *, keep: Sequence[uuid.UUID]) -> int:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            count: int = await self._pool.fetchval(_GIVE_BACK, worker, list(keep))
        return count

    async def next_due_us(self, worker: str, *, now_us: int) -> int | None:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        with unavailable():
            due: int | None = await self._pool.fetchval(_NEXT_DUE, worker, now_us)
        return due

    async def wakeups(self) -> AsyncIterator[tuple[str, uuid.UUID] | None]:
        """See :class:`~pulse_core.ports.DeliveryStore`."""
        async for said in listen(self._dsn, TOPIC):
            tenant_id, _, integration_id = (said or "").partition("/")
            yield (tenant_id, uuid.UUID(integration_id)) if integration_id else None
