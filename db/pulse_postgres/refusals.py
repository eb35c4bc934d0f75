"""Refused messages: counts by minute and those that were kept, as people read them, and forgetting them in time."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.pool import unavailable
from pulse_postgres.sorting import By, Orders, Sorted
from pulse_postgres.sqltime import at

if TYPE_CHECKING:
    import asyncpg

_REFUSED = """
    SELECT c.tenant_id, c.minute, c.reason, c.rejected, %s
    FROM (SELECT tenant_id FROM tenants UNION ALL SELECT '') AS t CROSS JOIN LATERAL (
        SELECT tenant_id, minute, reason, sum(rejected)::bigint AS rejected
        FROM quarantine_counts WHERE tenant_id = t.tenant_id AND %s
        GROUP BY tenant_id, minute, reason) AS c
    WHERE %s ORDER BY %s LIMIT %s
"""

# '' is the tenant of strangers. The index leads with the tenant.
_BY_MINUTE = """
    SELECT c.minute, c.reason, sum(c.rejected)::bigint AS rejected
    FROM (SELECT tenant_id FROM tenants UNION ALL SELECT '') AS t JOIN quarantine_counts c USING (tenant_id)
    WHERE c.minute >= date_trunc('minute', now()) - %s * interval '1 minute' AND %s GROUP BY 1, 2 ORDER BY 1, 2
"""

_KEPT = """
    SELECT tenant_id, reject_id, received_at, reason, detail, device_id, topic, source, payload, raw, %s
    FROM quarantine WHERE %s ORDER BY %s LIMIT %s
"""

REFUSED_ORDERS = Orders(
    by={"minute": By("c.minute", datetime, backward=True), "rejected": By("c.rejected", int), "reason": By("c.reason")},
    key={"reason": By("c.reason"), "tenant_id": By("c.tenant_id")},
    default="-minute",
)
KEPT_ORDERS = Orders(
    by={
        "received_at": By("received_at", datetime, backward=True),
        "reason": By("reason"),
        "device_id": By("device_id"),
    },
    key={"tenant_id": By("tenant_id"), "reject_id": By("reject_id", uuid.UUID)},
    default="-received_at",
)

# A process that has not heard yet that a tenant was removed may still count a refusal under its name.
_OF_NOBODY = "tenant_id <> '' AND NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = r.tenant_id)"
_FORGET = (
    f"DELETE FROM quarantine_counts r WHERE minute < {at('$1::bigint')} OR {_OF_NOBODY}",
    f"DELETE FROM accepted_counts r WHERE minute < {at('$1::bigint')} OR {_OF_NOBODY}",
    f"DELETE FROM quarantine r WHERE received_at < {at('$1::bigint')} OR {_OF_NOBODY}",
)


class PostgresRefusals:
    """What refused messages leave behind, and accepted ones beside their readings (pool as pulse_pipeline)."""

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
    since: datetime | None = None,
    before: datetime | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """How many messages were refused, by minute, tenant ('' for strangers) and reason; the newest first.

    Of the minutes from ``since`` on, before ``before``. ``sort`` may be another of REFUSED_ORDERS.
    """
    part = Sorted(REFUSED_ORDERS, sort, limit, cursor)
    inner = Where()
    inner.add_given("minute >= {}", since)
    inner.add_given("minute < {}", before)
    inner.add_given("reason = {}", reason)
    outer = inner.outer()
    outer.add_given("t.tenant_id = {}", tenant_id)
    part.begin(outer)
    query = _REFUSED % (part.position, inner, outer, part.order, outer.put(part.limit + 1))
    with asking():
        rows = await pool.fetch(query, *outer.arguments)
    return part.page(rows, item_of)


async def quarantine_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    reason: str | None = None,
    device_id: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Refused messages that were kept, the newest first; ``raw`` is base64 in JSON.

    Received at ``since`` or later, before ``before``. ``sort`` may be another of KEPT_ORDERS.
    """
    part = Sorted(KEPT_ORDERS, sort, limit, cursor)
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("reason = {}", reason)
    where.add_given("device_id = {}", device_id)
    where.add_given("received_at >= {}", since)
    where.add_given("received_at < {}", before)
    part.begin(where)
    query = _KEPT % (part.position, where, part.order, where.put(part.limit + 1))
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, _kept)


async def refused_by_minute(
    pool: asyncpg.Pool[Any], *, tenant_id: str | None = None, minutes: int
) -> list[tuple[datetime, str, int]]:
    """How many messages were refused in each of the last so many minutes: minute, reason, count; the oldest first."""
    where = Where()
    where.add_given("t.tenant_id = {}", tenant_id)
    query = _BY_MINUTE % (where.put(minutes - 1), where)
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return [(row["minute"], row["reason"], row["rejected"]) for row in rows]


def _kept(row: asyncpg.Record) -> dict[str, Any]:
    payload = row["payload"]
    return {**item_of(row), "payload": None if payload is None else msgspec.json.decode(payload)}
