"""Where a store's statements run: any pool, or one that is bound to a tenant by row-level security."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from pulse_postgres.pool import tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy


class Connections(Protocol):
    """What stores need of a pool."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[PoolConnectionProxy[Any]]:
        """A connection, until the block ends."""

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """The first row."""

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first value of the first row."""

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement."""


class TenantPool:
    """A pool through which a store sees and writes one tenant's rows, whatever its queries say.

    Each statement, or what runs on one acquired connection, is a transaction of ``pulse_web`` with the tenant set.
    The queries name the tenant as well: two guards, either of which suffices.
    """

    def __init__(self, pool: asyncpg.Pool[Any], tenant_id: str) -> None:
        self._pool = pool
        self._tenant_id = tenant_id

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[PoolConnectionProxy[Any]]:  # noqa: ARG002 - a pool's signature
        """A connection in the tenant's transaction; a transaction begun on it is a savepoint."""
        async with tenant(self._pool, self._tenant_id) as connection:
            yield connection

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        async with self.acquire() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """The first row."""
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first value of the first row."""
        async with self.acquire() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement."""
        async with self.acquire() as connection:
            return await connection.execute(query, *args)
