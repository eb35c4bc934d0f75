"""Browsers that are logged in: a row for each, found by the hash of what its cookie holds. For pulse_auth."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.principal import Principal, Role
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import ORIGIN, audit

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

_HOLDS = """
    s.ended_at IS NULL AND s.expires_at > now() AND s.seen_at > now() - $2::float8 * interval '1 second'
    AND (s.tenant_id = '' OR t.status = 'ACTIVE')
"""
_READ = f"""
    SELECT s.session_id, s.provider, s.subject, s.role, s.tenant_id, s.email, s.tokens, s.expires_at,
           extract(epoch FROM s.tokens_until - now())::float8 AS good_for_s,
           extract(epoch FROM s.renew_at - now())::float8 AS due_in_s,
           COALESCE(s.renewing_until > now(), false) AS being_renewed,
           s.vouched, s.seen_at < now() - interval '1 minute' AS note
    FROM browser_sessions s LEFT JOIN tenants t ON t.tenant_id = s.tenant_id
    WHERE s.id_hash = $1 AND {_HOLDS}
"""
# SKIP LOCKED: somebody else is noting the same just now, and nobody needs to wait for that.
_SEEN = """
    UPDATE browser_sessions SET seen_at = now() WHERE id_hash IN (
        SELECT id_hash FROM browser_sessions WHERE id_hash = $1 AND ended_at IS NULL FOR UPDATE SKIP LOCKED)
"""
_BEGIN = """
    INSERT INTO browser_sessions (id_hash, provider, subject, role, tenant_id, email, tokens, expires_at, tokens_until,
        renew_at, departure_hash, address, agent)
    VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::float8 * interval '1 second',
        now() + $9::float8 * interval '1 second', now() + $10::float8 * interval '1 second', $11, $12, $13)
"""
# One that ended stays an hour: by then what a browser brought back from a login elsewhere is too old to be used again.
_FORGET = """
    DELETE FROM browser_sessions WHERE (tenant_id, session_id) IN (
        SELECT tenant_id, session_id FROM browser_sessions
        WHERE expires_at < now() OR ended_at < now() - interval '1 hour'
            OR seen_at < now() - $1::float8 * interval '1 second'
        LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""
# Two that want to renew the same session meet at this row; the second finds it taken.
_CLAIM = """
    UPDATE browser_sessions SET renewing_until = now() + $2::float8 * interval '1 second'
    WHERE id_hash = $1 AND ended_at IS NULL AND (renewing_until IS NULL OR renewing_until < now())
        AND ($3 OR renew_at <= now())
    RETURNING provider, tokens
"""
_RENEWED = """
    UPDATE browser_sessions SET tokens = $2, vouched = false, renewing_until = NULL,
        tokens_until = now() + $3::float8 * interval '1 second', renew_at = now() + $4::float8 * interval '1 second'
    WHERE id_hash = $1 AND ended_at IS NULL
"""
_VOUCH = """
    UPDATE browser_sessions SET vouched = true, subject = $3, role = $4, email = $5 WHERE id_hash = $1 AND tokens = $2
"""
_NOT_RENEWED = """
    UPDATE browser_sessions SET renewing_until = NULL, renew_at = now() + $2::float8 * interval '1 second'
    WHERE id_hash = $1 AND ended_at IS NULL
"""
_END = """
    WITH was AS (
        SELECT tenant_id, session_id, provider, subject, tokens FROM browser_sessions
        WHERE id_hash = $1 AND ended_at IS NULL AND ($2::bytea IS NULL OR tokens = $2) FOR UPDATE
    )
    UPDATE browser_sessions s SET ended_at = now(), tokens = NULL FROM was
    WHERE s.tenant_id = was.tenant_id AND s.session_id = was.session_id
    RETURNING was.provider, was.subject, was.tenant_id, was.session_id, was.tokens
"""


class Stored(Struct, frozen=True):
    """A session that holds. ``tokens`` are sealed, good for ``good_for_s``, and due to be renewed in ``due_in_s``.

    ``vouched``: of these very tokens their provider has said that they are ``principal``'s.
    """

    session_id: uuid.UUID
    provider: str
    principal: Principal
    tokens: bytes
    expires_at: datetime
    good_for_s: float
    due_in_s: float
    being_renewed: bool
    vouched: bool


class Claimed(Struct, frozen=True):
    """A session whose tokens it is ours to renew, now."""

    provider: str
    tokens: bytes


class Lifetimes(Struct, frozen=True):
    """For how long tokens are good, and after how long the next ones are due (s)."""

    good_for_s: float
    due_in_s: float


class Ended(Struct, frozen=True):
    """A session that has ended just now, and the tokens that it had."""

    provider: str
    subject: str
    tenant_id: str
    session_id: uuid.UUID
    tokens: bytes


class PostgresBrowserSessions:
    """All of them. ``idle_s``: one that nothing was asked with for so long is over."""

    def __init__(self, pool: asyncpg.Pool[Any], idle_s: float) -> None:
        self._pool = pool
        self._idle_s = idle_s

    async def begin(
        self,
        id_hash: bytes,
        provider: str,
        principal: Principal,
        tokens: bytes,
        *,
        longest_s: float,
        lifetimes: Lifetimes,
        departure_hash: bytes | None = None,
        noted: bool,
    ) -> None:
        """A new session, over in ``longest_s``; those of anybody that are over go.

        :param departure_hash: what the browser brought back from a login elsewhere.
        :param noted: whether the audit log has its line already, for the provider wrote it.
        :raises Conflict: that was brought back before.
        """
        owner, origin = principal.tenant_id or "", ORIGIN.get()
        async with acting(self._pool, exists="this login was completed before") as connection:
            await connection.execute(_FORGET, self._idle_s)
            await connection.execute(
                _BEGIN, id_hash, provider, principal.subject, str(principal.role), owner, principal.email, tokens,
                longest_s, lifetimes.good_for_s, lifetimes.due_in_s, departure_hash, origin.address, origin.agent,
            )  # fmt: skip
            if not noted:
                await _note(connection, principal.subject, "user.login", owner, provider)

    async def read(self, id_hash: bytes) -> Stored | None:
        """A session that holds; None: it is over, there is none, or its tenant is suspended. Notes that it was seen."""
        with asking():
            row = await self._pool.fetchrow(_READ, id_hash, self._idle_s)
            if row is None:
                return None
            if row["note"]:
                await self._pool.execute(_SEEN, id_hash)
        return Stored(
            row["session_id"], row["provider"], _principal(row), row["tokens"], row["expires_at"], row["good_for_s"],
            row["due_in_s"], row["being_renewed"], row["vouched"],
        )  # fmt: skip

    async def claim(self, id_hash: bytes, for_s: float, *, early: bool = False) -> Claimed | None:
        """Take it upon us to renew a session's tokens within ``for_s``; None: not due (unless ``early``), or taken."""
        with asking():
            row = await self._pool.fetchrow(_CLAIM, id_hash, for_s, early)
        return None if row is None else Claimed(*row)

    async def renewed(self, id_hash: bytes, tokens: bytes, lifetimes: Lifetimes) -> bool:
        """Keep the next tokens; False: the session has ended meanwhile."""
        with asking():
            done = await self._pool.execute(_RENEWED, id_hash, tokens, lifetimes.good_for_s, lifetimes.due_in_s)
        return done == "UPDATE 1"

    async def vouch(self, id_hash: bytes, tokens: bytes, principal: Principal) -> None:
        """Keep what the provider says of these tokens, if they are still the session's."""
        with asking():
            await self._pool.execute(_VOUCH, id_hash, tokens, principal.subject, str(principal.role), principal.email)

    async def not_renewed(self, id_hash: bytes, again_in_s: float) -> None:
        """Say that it did not work now, and is to be tried again ``again_in_s``."""
        with asking():
            await self._pool.execute(_NOT_RENEWED, id_hash, again_in_s)

    async def end(self, id_hash: bytes, *, having: bytes | None = None, noted: bool = True) -> Ended | None:
        """End a session; None: there is none that has not ended.

        :param having: only if these are still its tokens.
        :param noted: whether the audit log needs no line: the provider writes it, or nobody did anything.
        """
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(_END, id_hash, having)
            if row is None:
                return None
            ended = Ended(*row)
            if not noted:
                await _note(connection, ended.subject, "user.logout", ended.tenant_id, ended.provider)
        return ended


async def _note(connection: PoolConnectionProxy[Any], subject: str, action: str, tenant_id: str, provider: str) -> None:
    await audit(
        connection, subject, action, tenant_id=tenant_id, resource=subject.removeprefix("user:"),
        details={"provider": provider},
    )  # fmt: skip


def _principal(row: asyncpg.Record) -> Principal:
    return Principal(row["subject"], Role(row["role"]), row["tenant_id"] or None, row["email"])
