"""Everything that is stored encrypted, to be encrypted anew with another key: integrations' secrets, signing keys,
the tokens of browsers' sessions, answers to requests that may be repeated.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_postgres.acting import asking
from pulse_postgres.audit import audit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

_COUNT = "SELECT count(*) FROM integrations WHERE secrets IS NOT NULL"
_FIRST = """
    SELECT tenant_id, integration_id, secrets FROM integrations WHERE secrets IS NOT NULL
    ORDER BY tenant_id, integration_id LIMIT $1
"""
_NEXT = """
    SELECT tenant_id, integration_id, secrets FROM integrations
    WHERE secrets IS NOT NULL AND (tenant_id, integration_id) > ($2, $3)
    ORDER BY tenant_id, integration_id LIMIT $1
"""
# updated_at stays: the configuration is the same, so whoever has an open connection to a receiver keeps it, and a
# receiver's 410 still disables what it answered. Whoever saved something else meanwhile wins.
_REPLACE = """
    UPDATE integrations i SET secrets = n.sealed
    FROM unnest($1::text[], $2::uuid[], $3::bytea[], $4::bytea[]) AS n (tenant_id, integration_id, was, sealed)
    WHERE i.tenant_id = n.tenant_id AND i.integration_id = n.integration_id AND i.secrets = n.was
"""


_KEYS = "SELECT kid, private_key FROM signing_keys ORDER BY kid"
_REPLACE_KEYS = """
    UPDATE signing_keys k SET private_key = n.sealed
    FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS n (kid, was, sealed)
    WHERE k.kid = n.kid AND k.private_key = n.was
"""


_SESSIONS = """
    SELECT tenant_id, session_id, tokens FROM browser_sessions
    WHERE tokens IS NOT NULL AND (tenant_id, session_id) > ($2, $3)
    ORDER BY tenant_id, session_id LIMIT $1
"""
_REPLACE_SESSIONS = """
    UPDATE browser_sessions s SET tokens = n.sealed
    FROM unnest($1::text[], $2::uuid[], $3::bytea[], $4::bytea[]) AS n (tenant_id, session_id, was, sealed)
    WHERE s.tenant_id = n.tenant_id AND s.session_id = n.session_id AND s.tokens = n.was
"""
_BEFORE_ALL = ("", uuid.UUID(int=0))


class Sealed(Struct, frozen=True):
    """The encrypted secrets of one integration."""

    tenant_id: str
    integration_id: uuid.UUID
    secrets: bytes

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.integration_id}"


class SealedKey(Struct, frozen=True):
    """The encrypted private part of one signing key."""

    kid: str
    secrets: bytes

    def __str__(self) -> str:
        return f"signing key {self.kid}: `pulse keys rotate` makes another"


class SealedSession(Struct, frozen=True):
    """The encrypted tokens of one browser's session."""

    tenant_id: str
    session_id: uuid.UUID
    secrets: bytes

    def __str__(self) -> str:
        return f"session {self.session_id} of a browser: whoever has it logs in again"


class ResealingSessions:
    """Browsers' sessions. ``pool`` logs in as pulse_admin."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def pages(self, size: int = 100) -> AsyncIterator[list[SealedSession]]:
        """All of them, page by page."""
        last: tuple[str, uuid.UUID] = _BEFORE_ALL
        while True:
            with asking():
                rows = await self._pool.fetch(_SESSIONS, size, *last)
            if not rows:
                return
            yield [SealedSession(*row) for row in rows]
            last = rows[-1]["tenant_id"], rows[-1]["session_id"]

    async def replace(self, changes: Sequence[tuple[SealedSession, bytes]]) -> int:
        """Store what was encrypted anew, where it is still what was read; return where it was."""
        old = [before for before, _ in changes]
        with asking():
            done = await self._pool.execute(
                _REPLACE_SESSIONS,
                [each.tenant_id for each in old],
                [each.session_id for each in old],
                [each.secrets for each in old],
                [after for _, after in changes],
            )
        return int(done.removeprefix("UPDATE "))


class ResealingKeys:
    """Signing keys. ``pool`` logs in as pulse_admin."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def pages(self) -> AsyncIterator[list[SealedKey]]:
        """All of them, at once: there are few."""
        with asking():
            rows = await self._pool.fetch(_KEYS)
        yield [SealedKey(*row) for row in rows]

    async def replace(self, changes: Sequence[tuple[SealedKey, bytes]]) -> int:
        """Store what was encrypted anew, where it is still what was read; return where it was."""
        old = [before for before, _ in changes]
        with asking():
            done = await self._pool.execute(
                _REPLACE_KEYS,
                [each.kid for each in old],
                [each.secrets for each in old],
                [after for _, after in changes],
            )
        return int(done.removeprefix("UPDATE "))


class Resealing:
    """Integrations. ``pool`` logs in as pulse_admin. Each call is a transaction of its own, of at most one page."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def count(self) -> int:
        """How many integrations have secrets."""
        with asking():
            return int(await self._pool.fetchval(_COUNT))

    async def pages(self, size: int = 100) -> AsyncIterator[list[Sealed]]:
        """All of them, page by page, in the order of their ids."""
        with asking():
            rows = await self._pool.fetch(_FIRST, size)
        while rows:
            yield [Sealed(*row) for row in rows]
            with asking():
                rows = await self._pool.fetch(_NEXT, size, rows[-1]["tenant_id"], rows[-1]["integration_id"])

    async def replace(self, changes: Sequence[tuple[Sealed, bytes]]) -> int:
        """Store what was encrypted anew, where it is still what was read; return where it was."""
        old = [before for before, _ in changes]
        with asking():
            done = await self._pool.execute(
                _REPLACE,
                [each.tenant_id for each in old],
                [each.integration_id for each in old],
                [each.secrets for each in old],
                [after for _, after in changes],
            )
        return int(done.removeprefix("UPDATE "))

    async def note(self, actor: str, resealed: int) -> None:
        """Tell the audit log."""
        with asking():
            async with self._pool.acquire() as connection:
                await audit(connection, actor, "secrets.rotate", details={"resealed": resealed})


_ANSWERS = """
    SELECT tenant_id, subject, key, request, answer FROM request_keys WHERE (tenant_id, subject, key) > ($2, $3, $4)
    ORDER BY tenant_id, subject, key LIMIT $1
"""


_REPLACE_ANSWERS = """
    UPDATE request_keys r SET {0} = n.sealed
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])
        AS n (tenant_id, subject, key, was, sealed)
    WHERE (r.tenant_id, r.subject, r.key) = (n.tenant_id, n.subject, n.key) AND r.{0} = n.was
"""


class SealedAnswer(Struct, frozen=True):
    """One of two columns (``request``, ``answer``) of an idempotency key."""

    tenant_id: str
    subject: str
    key: str
    column: str
    secrets: bytes

    def __str__(self) -> str:
        return f"{self.tenant_id} what {self.subject} was answered: it is forgotten within a day"


class ResealingAnswers:
    """Idempotency keys. ``pool`` logs in as pulse_admin. Each call is a transaction of its own, of at most one page."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def pages(self, size: int = 100) -> AsyncIterator[list[SealedAnswer]]:
        """All of them, page by page."""
        after = ("", "", "")
        while True:
            with asking():
                rows = await self._pool.fetch(_ANSWERS, size, *after)
            if not rows:
                return
            after = (rows[-1]["tenant_id"], rows[-1]["subject"], rows[-1]["key"])
            found = [(row, column) for row in rows for column in ("request", "answer") if row[column] is not None]
            yield [SealedAnswer(row[0], row[1], row[2], column, row[column]) for row, column in found]

    async def replace(self, changes: Sequence[tuple[SealedAnswer, bytes]]) -> int:
        """Store what was encrypted anew, where it is still what was read; return where it was."""
        replaced = 0
        for column in ("request", "answer"):
            now = [(old, after) for old, after in changes if old.column == column]
            names = [[getattr(old, name) for old, _ in now] for name in ("tenant_id", "subject", "key", "secrets")]
            with asking():
                done = await self._pool.execute(_REPLACE_ANSWERS.format(column), *names, [after for _, after in now])
            replaced += int(done.removeprefix("UPDATE "))
        return replaced
