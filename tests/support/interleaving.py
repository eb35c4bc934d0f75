"""Two tenants at once over a few connections, cancelled, timed out and cut off at any point; and who saw what."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg

from pulse_core.errors import StoreUnavailable
from pulse_postgres.connections import TenantPool
from pulse_postgres.pool import open_pool
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from support.database import Database

POOL_SIZE = 3
_NAME = "interleaving"
_WORKERS_OF_EACH = 4
_A_TRANSACTION = (3, 12)
_CANCELLED, _TIMED_OUT, _STRANGER = 0.06, 0.04, 0.05
_SOON_S = 0.01
_KILL_EVERY = 1_500
_SHOW_EVERY_S = 5.0

# None of them says of which tenant: row-level security alone is to.
_READS = (
    "SELECT tenant_id FROM integrations",
    "SELECT tenant_id FROM integration_routes LIMIT 50",
    "SELECT d.tenant_id FROM devices d JOIN device_state s USING (device_id)",
    "SELECT tenant_id FROM telemetry",
    "SELECT a.tenant_id FROM alerts a, deliveries d",
    "SELECT tenant_id FROM audit_log LIMIT 50",
    "SELECT current_setting('app.tenant_id', true)",
    "SELECT tenant_id FROM tenants, pg_sleep(0.002)",
)
_UPDATE = "UPDATE integrations SET name = $1 RETURNING tenant_id"
_ROUTE = """
    INSERT INTO integration_routes (tenant_id, route_id, integration_id, name) VALUES ($1, $2, $3, $1)
    RETURNING tenant_id
"""
_UNROUTE = "DELETE FROM integration_routes WHERE name = $1 AND route_id <> $2 RETURNING tenant_id"
_NOTE = "INSERT INTO audit_log (tenant_id, actor, action) VALUES ($1, $1, 'interleaved') RETURNING tenant_id"
_KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1
    ORDER BY random() LIMIT 1
"""
_MIXED = """
    SELECT 'integrations', count(*) FROM integrations WHERE name <> tenant_id
    UNION ALL SELECT 'integration_routes', count(*) FROM integration_routes WHERE name NOT IN (tenant_id, '')
    UNION ALL SELECT 'audit_log', count(*) FROM audit_log WHERE action = 'interleaved' AND actor <> tenant_id
"""


_CUT_OFF = (StoreUnavailable, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What whoever asks on a connection that was killed just now may be told."""


class CrossingError(AssertionError):
    """A tenant saw, or wrote, what is not its own; or a connection remembered whose it was."""


class Interleaving:
    """Both tenants' work, until so many statements were sent.

    :param seed: of everything that is left to chance here. What the scheduler does is not.
    """

    def __init__(self, database: Database, statements: int, seed: int) -> None:
        self._database = database
        self._statements = statements
        self._chance = random.Random(seed)
        self._shown_at = time.monotonic()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Raises :class:`CrossingError`."""
        pool = await open_pool(self._database.dsn("pulse_web"), name=_NAME, max_size=POOL_SIZE)
        killer = await asyncpg.connect(self._database.url)
        try:
            async with asyncio.TaskGroup() as group:
                for tenant_id in TENANTS:
                    for _ in range(_WORKERS_OF_EACH):
                        group.create_task(self._work(pool, tenant_id))
                group.create_task(self._kill(killer))
            await self._stranger(pool)
            mixed = {row[0]: row[1] for row in await killer.fetch(_MIXED)}
            if any(mixed.values()):
                raise CrossingError(f"rows of one tenant written by the other: {mixed}")
        finally:
            await killer.close()
            await pool.close()

    @property
    def _over(self) -> bool:
        return self.counts["statements"] >= self._statements

    async def _work(self, pool: asyncpg.Pool[Any], tenant_id: str) -> None:
        mine = TenantPool(pool, tenant_id)
        while not self._over:
            self._show()
            if self._chance.random() < _STRANGER:
                with suppress(*_CUT_OFF):
                    await self._stranger(pool)
            await self._disturbed(self._transaction(mine, tenant_id))

    async def _disturbed(self, deed: Any) -> None:
        """Do it, unless fate cancels it, or its time is up first."""
        task = asyncio.create_task(deed)
        fate = self._chance.random()
        limit_s = self._chance.uniform(0, _SOON_S)
        if fate < _CANCELLED:
            asyncio.get_running_loop().call_later(limit_s, task.cancel)
        try:
            async with asyncio.timeout(limit_s if _CANCELLED <= fate < _CANCELLED + _TIMED_OUT else None):
                await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            self.counts["cancelled"] += 1
        except TimeoutError:
            self.counts["timed out"] += 1
        except StoreUnavailable:
            self.counts["cut off"] += 1
        else:
            self.counts["committed"] += 1

    async def _transaction(self, mine: TenantPool, tenant_id: str) -> None:
        async with mine.acquire() as connection:
            for _ in range(self._chance.randint(*_A_TRANSACTION)):
                await self._ask(connection, tenant_id, self._chance.choice(_READS))
            dice = self._chance.random()
            if dice < 0.2:
                await self._trespass(connection, tenant_id)
            elif dice < 0.4:
                await self._ask(connection, tenant_id, _UPDATE, tenant_id)
            elif dice < 0.6:
                await self._ask(connection, tenant_id, _ROUTE, tenant_id, uuid.uuid4(), an_id(tenant_id))
            elif dice < 0.7:
                await self._ask(connection, tenant_id, _UNROUTE, tenant_id, an_id(tenant_id))
            else:
                await self._ask(connection, tenant_id, _NOTE, tenant_id)

    async def _ask(self, connection: PoolConnectionProxy[Any], tenant_id: str, query: str, *values: object) -> None:
        self.counts["statements"] += 1
        rows = await connection.fetch(query, *values)
        if seen := {row[0] for row in rows} - {tenant_id}:
            raise CrossingError(f"{tenant_id} got {seen} of: {query}")
        self.counts["rows"] += len(rows)

    async def _trespass(self, connection: PoolConnectionProxy[Any], tenant_id: str) -> None:
        """Write for the other tenant."""
        (other,) = set(TENANTS) - {tenant_id}
        self.counts["statements"] += 1
        try:
            async with connection.transaction():
                await connection.execute(_NOTE, other)
        except asyncpg.InsufficientPrivilegeError:
            self.counts["refused"] += 1
        else:
            raise CrossingError(f"{tenant_id} wrote for {other}")

    async def _stranger(self, pool: asyncpg.Pool[Any]) -> None:
        """Nobody's transaction, on a connection that somebody used before: it knows no tenant and sees no row."""
        async with pool.acquire() as connection:
            self.counts["statements"] += 2
            kept = await connection.fetchval("SELECT current_setting('app.tenant_id', true)")
            rows = await connection.fetchval("SELECT count(*) FROM integrations")
        if kept or rows:
            raise CrossingError(f"a connection still was {kept!r}'s, and saw {rows} rows")
        self.counts["strangers"] += 1

    async def _kill(self, killer: asyncpg.Connection[Any]) -> None:
        """End one of the connections now and then."""
        due = _KILL_EVERY
        while not self._over:
            await asyncio.sleep(0.01)
            if self.counts["statements"] > due:
                due += _KILL_EVERY
                self.counts["killed"] += len(await killer.fetch(_KILL, f"pulse {_NAME}"))

    def _show(self) -> None:
        if time.monotonic() - self._shown_at > _SHOW_EVERY_S:
            self._shown_at = time.monotonic()
            sys.stderr.write(f"{dict(self.counts)}\n")
