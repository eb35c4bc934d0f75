"""Connections of devices, and the events besides: written in batches (pulse_pipeline), read by people, newest first."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pulse_core.device_connections import MOST_A_DEVICE
from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.pool import beside
from pulse_postgres.sorting import By, Orders, Sorted
from pulse_postgres.sqltime import at

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from pulse_core.device_connections import DeviceConnection
    from pulse_postgres.connections import Connections

# A device that was removed meanwhile has no history any more.
_RECORD = f"""
    INSERT INTO device_connections AS c (tenant_id, connection_id, device_id, source, protocol, address, client_id,
        connected_at, disconnected_at, reason, event, detail, times)
    SELECT tenant_id, n.connection_id, device_id, n.source, n.protocol, n.address, n.client_id,
        {at("n.connected_us")}, {at("n.ended_us")}, n.ending, n.event, n.detail, n.times
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::bigint[], $10::text[], $11::text[], $12::text[], $13::integer[]) AS n (connection_id, tenant_id, device_id,
        source, protocol, address, client_id, connected_us, ended_us, ending, event, detail, times)
    JOIN devices USING (tenant_id, device_id)
    ON CONFLICT (tenant_id, connection_id) DO UPDATE
        SET disconnected_at = EXCLUDED.disconnected_at, reason = EXCLUDED.reason, times = EXCLUDED.times
        WHERE c.disconnected_at IS NULL OR c.times < EXCLUDED.times
"""
# Of each kind for itself: whoever is refused again and again drives no connection out.
_KEEP_THE_NEWEST = """
    DELETE FROM device_connections c USING (
        SELECT k.tenant_id, k.device_id, k.event, last.connected_at
        FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[], $3::text[]) AS u (tenant_id, device_id, event)) AS k
        CROSS JOIN LATERAL (
            SELECT connected_at FROM device_connections o
            WHERE o.tenant_id = k.tenant_id AND o.device_id = k.device_id AND o.event IS NOT DISTINCT FROM k.event
            ORDER BY connected_at DESC, connection_id OFFSET $4 LIMIT 1) AS last) AS beyond
    WHERE c.tenant_id = beyond.tenant_id AND c.device_id = beyond.device_id
      AND c.event IS NOT DISTINCT FROM beyond.event AND c.connected_at <= beyond.connected_at
"""
# When it ended nobody knows any more: this is when that was noticed.
_END_ALL_BUT = """
    UPDATE device_connections SET disconnected_at = greatest(now(), connected_at), reason = 'SERVER_STOPPED'
    WHERE disconnected_at IS NULL AND connection_id <> ALL ($1::uuid[])
"""
_FORGET = f"DELETE FROM device_connections WHERE disconnected_at < {at('$1::bigint')}"

_CONNECTIONS = """
    SELECT tenant_id, connection_id, device_id, source, protocol, address, client_id, connected_at, disconnected_at,
           reason, event, detail, times, %s
    FROM device_connections WHERE %s ORDER BY %s LIMIT %s
"""
CONNECTION_ORDERS = Orders(
    by={"connected_at": By("connected_at", datetime, backward=True)},
    key={"tenant_id": By("tenant_id"), "connection_id": By("connection_id", uuid.UUID)},
    default="-connected_at",
)


class PostgresDeviceConnections:
    """See :class:`pulse_core.ports.ConnectionStore`."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def record(self, connections: Sequence[DeviceConnection]) -> None:
        """Write them, and forget all but the newest of their devices."""
        rows = [
            (
                each.connection_id, each.key.tenant_id, each.key.device_id, each.source, each.protocol, each.address,
                each.client_id, each.connected_us, each.ended_us, each.ending, each.event, each.detail, each.times,
            )
            for each in connections
        ]  # fmt: skip
        columns = [list(column) for column in zip(*rows, strict=True)]
        async with beside(self._pool) as connection, connection.transaction():
            await connection.execute(_RECORD, *columns)
            await connection.execute(_KEEP_THE_NEWEST, columns[1], columns[2], columns[10], MOST_A_DEVICE)

    async def end_all_but(self, connection_ids: Sequence[uuid.UUID]) -> None:
        """End every open one that is none of these."""
        async with beside(self._pool) as connection:
            await connection.execute(_END_ALL_BUT, list(connection_ids))

    async def drop_before(self, cutoff_us: int) -> int:
        """Forget those that ended before ``cutoff_us``; return how many."""
        async with beside(self._pool) as connection:
            tag = await connection.execute(_FORGET, cutoff_us)
        return int(tag.removeprefix("DELETE "))


async def connection_page(
    pool: Connections, tenant_id: str, device_id: str, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """The connections of one device and the events besides, the newest first."""
    part = Sorted(CONNECTION_ORDERS, None, limit, cursor)
    where = Where()
    where.add("tenant_id = {}", tenant_id)
    where.add("device_id = {}", device_id)
    part.begin(where)
    query = _CONNECTIONS % (part.position, where, part.order, where.put(part.limit + 1))
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, item_of)
