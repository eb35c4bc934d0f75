"""The keys that sign our tokens: see :mod:`pulse_core.identity`. Private parts are stored encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.identity import StoredKey
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit

if TYPE_CHECKING:
    import asyncpg

# Whatever was signed with a key is over 15 minutes after the next one took its place; the rest is for slow processes.
_VERIFIES = "interval '20 minutes'"

_KEYS = """
    SELECT kid, public_key, private_key, extract(epoch FROM signs_from - now())::float8 AS signs_in_s,
           extract(epoch FROM now() - lead(signs_from) OVER (ORDER BY signs_from, kid))::float8 AS retired_s, signs_from
    FROM signing_keys
"""
_LOAD = f"""
    SELECT kid, public_key, private_key, signs_in_s, CASE WHEN retired_s > 0 THEN retired_s END FROM ({_KEYS}) k
    WHERE retired_s IS NULL OR retired_s < extract(epoch FROM {_VERIFIES}) ORDER BY signs_from DESC, kid DESC
"""
# Two processes that start at once must not both sign with a first key of their own.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('pulse signing_keys'))"
_NEWEST = "SELECT kid FROM signing_keys ORDER BY signs_from DESC, kid DESC LIMIT 1"
_ADD = """
    INSERT INTO signing_keys (kid, public_key, private_key, signs_from)
    VALUES ($1, $2, $3, clock_timestamp() + $4::float8 * interval '1 second')
"""
_FORGET = f"""
    DELETE FROM signing_keys WHERE kid IN (
        SELECT kid FROM ({_KEYS}) k WHERE retired_s > extract(epoch FROM {_VERIFIES}))
"""


class PostgresSigningKeys:
    """``pool`` logs in as pulse_auth, or as pulse_admin to rotate and to forget.

    :param actor: who adds, for the audit log.
    """

    def __init__(self, pool: asyncpg.Pool[Any], actor: str = "accounts") -> None:
        self._pool = pool
        self._actor = actor

    async def load(self) -> list[StoredKey]:
        """All that anybody may still need, the newest first."""
        with asking():
            rows = await self._pool.fetch(_LOAD)
        return [StoredKey(*row) for row in rows]

    async def add(self, key: StoredKey, *, replacing: str | None) -> bool:
        """Store a key, unless the newest is another than ``replacing``."""
        async with acting(self._pool) as connection:
            await connection.execute(_LOCK)
            if await connection.fetchval(_NEWEST) != replacing:
                return False
            await connection.execute(_ADD, key.kid, key.public_key, key.private_key, key.signs_in_s)
            if replacing is not None:  # nobody did anything when the first one comes to be
                await audit(connection, self._actor, "keys.add", resource=key.kid)
        return True

    async def forget(self) -> int:
        """Remove keys that nothing valid can be signed with any more; return how many."""
        with asking():
            return int((await self._pool.execute(_FORGET)).removeprefix("DELETE "))
