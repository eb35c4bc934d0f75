"""Small questions to the database: does it answer, and what time is it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_postgres.pool import connect, unavailable

if TYPE_CHECKING:
    from asyncpg import Pool

_PING = "SELECT 1"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


async def ping(pool: Pool, *, timeout_s: float = 2.0) -> None:
    """Return when the database answered. Raises StoreUnavailable when it does not."""
    with unavailable():
        await pool.fetchval(_PING, timeout=timeout_s)


async def server_time_s(dsn: str) -> float:
    """The database server's clock, in seconds since the epoch. Raises StoreUnavailable."""
    with unavailable():
        connection = await connect(dsn, timeout=10)
        try:
            return float(await connection.fetchval(_NOW))
        finally:
            await connection.close()
