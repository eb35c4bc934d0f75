"""Whose API token this is: looked up, and then believed for a moment."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.principal import OF_PROGRAMS, Principal, Role
from pulse_core.remembered import Remembered
from pulse_postgres.acting import asking
from pulse_postgres.tokens import hash_token

if TYPE_CHECKING:
    import asyncpg

PREFIX = "pulse_"
"""By this a token is known for what it is, in a log or a leak."""

HOLDS_S = 2.0
"""So long a token is believed to hold since we last looked: one that is revoked opens nothing after that."""

_LOOKS_LIKE = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_REMEMBERED = 20_000

_FIND = """
    SELECT a.tenant_id, a.token_id, a.name, a.role, a.scopes,
           extract(epoch FROM a.expires_at - now())::float8 AS left_s,
           a.last_used_at IS NULL OR a.last_used_at < now() - interval '1 minute' AS note
    FROM api_tokens a LEFT JOIN tenants t ON t.tenant_id = a.tenant_id
    WHERE a.token_hash = $1 AND a.revoked_at IS NULL AND a.expires_at > now()
      AND (a.tenant_id = '' OR t.status = 'ACTIVE')
"""
# SKIP LOCKED: somebody else is noting the same just now, and nobody needs to wait for that.
_USED = """
    UPDATE api_tokens SET last_used_at = now() WHERE (tenant_id, token_id) IN (
        SELECT tenant_id, token_id FROM api_tokens WHERE tenant_id = $1 AND token_id = $2 FOR UPDATE SKIP LOCKED)
"""


def looks_like_token(text: str) -> bool:
    """Whether this has the form of an API token."""
    return _LOOKS_LIKE.fullmatch(text) is not None


class _Known(Struct, frozen=True):
    """Who held a token when we last looked, and until when (monotonic) that is believed."""

    principal: Principal
    until_s: float


class TokenCheck:
    """Who holds a token. ``pool`` logs in as pulse_auth. One object a process: it remembers.

    A token that is refused is not remembered: it is looked up each time.
    """

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool
        self._known: Remembered[bytes, _Known] = Remembered(_REMEMBERED)

    async def principal(self, token: str) -> Principal | None:
        """Whose token this is; None for one that is unknown, expired, revoked, or of a suspended tenant."""
        if not looks_like_token(token):
            return None
        hashed = hash_token(token)
        known = self._known.get(hashed)
        if known is not None and known.until_s > time.monotonic():
            return known.principal
        return await self._look_up(hashed)

    async def _look_up(self, hashed: bytes) -> Principal | None:
        looked_at = time.monotonic()
        with asking():
            row = await self._pool.fetchrow(_FIND, hashed)
            if row is None:
                self._known.forget(hashed)
                return None
            if row["note"]:
                await self._pool.execute(_USED, row["tenant_id"], row["token_id"])
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        found = Principal(f"{OF_PROGRAMS}{row['name']}", Role(row["role"]), row["tenant_id"] or None, scopes=scopes)
        self._known.put(hashed, _Known(found, looked_at + min(HOLDS_S, row["left_s"])))
        return found
