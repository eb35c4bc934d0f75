"""Refused messages: counts by minute and those that were kept, as people read them, and forgetting them in time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of, page_of, read_cursor, within
from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    import asyncpg

_REFUSED = f"""
    SELECT c.tenant_id, c.minute, c.reason, c.rejected, {us("c.minute")} AS position
    FROM (SELECT tenant_id FROM tenants UNION ALL SELECT '') AS t CROSS JOIN LATERAL (
        SELECT tenant_id, minute, reason, sum(rejected)::bigint AS rejected
        FROM quarantine_counts WHERE tenant_id = t.tenant_id AND %s
        GROUP BY tenant_id, minute, reason) AS c
    WHERE %s ORDER BY c.minute DESC, c.tenant_id, c.reason LIMIT %s
"""

_KEPT = f"""
    SELECT tenant_id, reject_id, received_at, reason, detail, device_id, topic, payload, raw,
           {us("received_at")} AS position
    FROM quarantine WHERE %s ORDER BY received_at DESC, reject_id LIMIT %s
"""

# A process that has not heard yet that a tenant was removed may still count a refusal under its name.
_OF_NOBODY = "tenant_id <> '' AND NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = r.tenant_id)"
_FORGET = (
    f"DELETE FROM quarantine_counts r WHERE minute < {at('$1::bigint')} OR {_OF_NOBODY}",
    f"DELETE FROM quarantine r WHERE received_at < {at('$1::bigint')} OR {_OF_NOBODY}",
)


class PostgresRefusals:
    """What refused messages leave behind (pool as pulse_pipeline)."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def drop_before(self, cutoff_us: int) -> int:
        """Forget counts and copies older than ``cutoff_us``, or of tenants that are gone; return how many rows went."""
        with unavailable():
            tags = [await self._pool.execute(statement, cutoff_us) for statement in _FORGET]
        return sum(int(tag.removeprefix("DELETE ")) for tag in tags)


async def refused_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    reason: str | None = None,
    since_us: int = 0,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """How many messages were refused, by minute, tenant ('' for strangers) and reason; the newest first."""
    limit = within(limit)
    inner = Where()
    inner.add(f"minute >= {at('{}::bigint')}", since_us)
    inner.add_given("reason = {}", reason)
    outer = inner.outer()
    outer.add_given("t.tenant_id = {}", tenant_id)
    if after := read_cursor(cursor, tuple[int, str, str]):
        minute = at(f"{outer.put(after[0])}::bigint")
        inner.add(f"minute <= {minute}")
        outer.add(f"(c.minute < {minute} OR (c.tenant_id, c.reason) > ({{}}, {{}}))", *after[1:])
    with asking():
        rows = await pool.fetch(_REFUSED % (inner, outer, outer.put(limit + 1)), *outer.arguments)
    return page_of(rows, limit, item_of, "position", "tenant_id", "reason")


async def quarantine_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    reason: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Refused messages that were kept, the newest first; ``raw`` is base64 in JSON."""
    limit = within(limit)
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("reason = {}", reason)
    where.add_position(read_cursor(cursor, tuple[int, uuid.UUID]), "received_at", "reject_id")
    with asking():
        rows = await pool.fetch(_KEPT % (where, where.put(limit + 1)), *where.arguments)
    return page_of(rows, limit, _kept, "position", "reject_id")


def _kept(row: asyncpg.Record) -> dict[str, Any]:
    payload = row["payload"]
    return {**item_of(row), "payload": None if payload is None else msgspec.json.decode(payload)}
