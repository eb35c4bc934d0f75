"""Everything that is stored encrypted, to be encrypted anew with another key: each place, and how to go through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_postgres.acting import asking
from pulse_postgres.audit import audit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg


class Place(Struct, frozen=True):
    """A column that holds encrypted values. ``key``: the columns that name a row, each with its type in SQL.

    ``told``: how people are told of one that no key reads, ``{}`` being the row's key.
    """

    table: str
    column: str
    key: Mapping[str, str]
    told: str = "{}"


INTEGRATIONS = Place("integrations", "secrets", {"tenant_id": "text", "integration_id": "uuid"})
SIGNING_KEYS = Place(
    "signing_keys", "private_key", {"kid": "text"}, "signing key {}: `pulse keys rotate` makes another"
)
SESSIONS = Place(
    "browser_sessions",
    "tokens",
    {"tenant_id": "text", "session_id": "uuid"},
    "session {} of a browser: whoever has it logs in again",
)
_REQUEST = {"tenant_id": "text", "subject": "text", "key": "text"}
REQUESTS = Place("request_keys", "request", _REQUEST)
ANSWERS = Place("request_keys", "answer", _REQUEST)


class Sealed(Struct, frozen=True):
    """One encrypted value, and whose it is."""

    place: Place
    key: tuple[Any, ...]
    secrets: bytes

    def __str__(self) -> str:
        return self.place.told.format(" ".join(map(str, self.key)))


class Resealing:
    """The values of one place. ``pool`` logs in as pulse_admin. Each call is a transaction of at most one page."""

    def __init__(self, pool: asyncpg.Pool[Any], place: Place = INTEGRATIONS) -> None:
        self._pool = pool
        self._place = place

    async def count(self) -> int:
        """How many there are."""
        with asking():
            return int(await self._pool.fetchval(f"SELECT count(*) {self._all}"))

    async def pages(self, size: int = 100) -> AsyncIterator[list[Sealed]]:
        """All of them, page by page, in the order of their keys."""
        names = ", ".join(self._place.key)
        ordered = f"ORDER BY {names} LIMIT $1"
        found = f"SELECT {names}, {self._place.column} {self._all}"
        places = ", ".join(f"${number}" for number in range(2, len(self._place.key) + 2))
        with asking():
            rows = await self._pool.fetch(f"{found} {ordered}", size)
        while rows:
            page = [Sealed(self._place, tuple(row)[:-1], row[-1]) for row in rows]
            yield page
            with asking():
                rows = await self._pool.fetch(f"{found} AND ({names}) > ({places}) {ordered}", size, *page[-1].key)

    async def replace(self, changes: Sequence[tuple[Sealed, bytes]]) -> int:
        """Store what was encrypted anew, where it is still what was read; return where it was.

        updated_at stays: what is stored says the same, so whoever has an open connection to a receiver keeps it, and a
        receiver's 410 still disables what it answered. Whoever saved something else meanwhile wins.
        """
        kinds = [*self._place.key.values(), "bytea", "bytea"]
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, 1))
        same = " AND ".join(f"t.{name} = n.{name}" for name in self._place.key)
        column = self._place.column
        replace = f"""
            UPDATE {self._place.table} t SET {column} = n.sealed
            FROM unnest({arrays}) AS n ({", ".join(self._place.key)}, was, sealed) WHERE {same} AND t.{column} = n.was
        """
        keys = zip(*(old.key for old, _ in changes), strict=True)
        was, sealed = [old.secrets for old, _ in changes], [after for _, after in changes]
        with asking():
            done = await self._pool.execute(replace, *map(list, keys), was, sealed)
        return int(done.removeprefix("UPDATE "))

    async def note(self, actor: str, resealed: int) -> None:
        """Tell the audit log."""
        with asking():
            async with self._pool.acquire() as connection:
                await audit(connection, actor, "secrets.rotate", details={"resealed": resealed})

    @property
    def _all(self) -> str:
        return f"FROM {self._place.table} WHERE {self._place.column} IS NOT NULL"
