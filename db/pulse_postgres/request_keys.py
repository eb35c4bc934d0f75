"""Idempotency keys and what was answered to the requests that carried them. Kept for a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_postgres.acting import asking

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

KEPT_H = 24

_FIND = """
    SELECT request, answer, EXTRACT(EPOCH FROM clock_timestamp() - made_at)::float8 FROM request_keys
    WHERE tenant_id = $1 AND subject = $2 AND key = $3
"""
_KEEP = "UPDATE request_keys SET answer = $4 WHERE tenant_id = $1 AND subject = $2 AND key = $3"
# In steps: a day of busy programs is many rows, and nobody is to wait behind their end.
_FORGET = f"""
    DELETE FROM request_keys WHERE (tenant_id, subject, key) IN (
        SELECT tenant_id, subject, key FROM request_keys
        WHERE made_at < now() - interval '{KEPT_H} hours' ORDER BY made_at LIMIT $1)
"""


class Kept(Struct, frozen=True):
    """A key that is taken: what was asked and answered, both sealed.

    ``answer`` is None while the first request is at work, and for ever if it died after its commit.
    """

    request: bytes
    answer: bytes | None
    age_s: float


class RequestKeys:
    """The keys of one caller. ``pool`` logs in as pulse_admin, or is the caller's tenant's own.

    Keys are written by :class:`~pulse_postgres.deeds.Deed`, with what they are for.
    """

    def __init__(self, pool: Connections, tenant_id: str, subject: str) -> None:
        self._pool = pool
        self._owner = (tenant_id, subject)

    async def find(self, key: str) -> Kept | None:
        """What is known of a key."""
        with asking():
            row = await self._pool.fetchrow(_FIND, *self._owner, key)
        return None if row is None else Kept(*row)

    async def keep(self, key: str, answer: bytes) -> None:
        """Keep what was answered, sealed."""
        with asking():
            await self._pool.execute(_KEEP, *self._owner, key, answer)


async def forget(pool: asyncpg.Pool[Any], step: int = 1000) -> int:
    """Forget what is older than a day; return how many keys that were. ``pool`` logs in as pulse_admin."""
    total = 0
    while True:
        with asking():
            gone = int((await pool.execute(_FORGET, step)).removeprefix("DELETE "))
        total += gone
        if gone < step:
            return total
