"""Devices with how they are doing, as people read them (pulse_admin, pulse_operator)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.errors import NotFound
from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, page_of, read_cursor, within

if TYPE_CHECKING:
    import asyncpg

# Recorded as ONLINE, but past the moment at which that should have been judged again: nobody was there to judge.
STATUS = """
    CASE WHEN d.revoked_at IS NOT NULL THEN 'REVOKED'
         WHEN s.status IS NULL THEN 'UNKNOWN'
         WHEN s.status = 'ONLINE' AND s.status_until < now() - interval '5 seconds' THEN 'UNKNOWN'
         ELSE s.status END
"""
"""SQL for a device's derived status, of ``devices d LEFT JOIN device_state s``."""

_SELECT = f"""
    SELECT d.tenant_id, d.device_id, d.site_id, d.name, d.labels, {STATUS} AS status, s.status_since, s.last_seen_at,
           s.last_ts, s.source, d.activated, d.revoked_at, d.stale_after_s, d.created_at,
           d.updated_at
    FROM devices d LEFT JOIN device_state s USING (tenant_id, device_id)
"""


async def device_page(
    pool: asyncpg.Pool[Any],
    *,
    tenant_id: str | None = None,
    site_id: str | None = None,
    status: str | None = None,
    prefix: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Devices by tenant and id, of all tenants unless one is named.

    :param status: a derived status: ONLINE, STALE, UNKNOWN or REVOKED.
    :param prefix: what the device id begins with.
    """
    limit = within(limit)
    where = Where()
    where.add_given("d.tenant_id = {}", tenant_id)
    where.add_given("d.site_id = {}", site_id)
    where.add_given("starts_with(d.device_id, {})", prefix)
    where.add_given(f"{STATUS} = {{}}", status)
    if after := read_cursor(cursor, tuple[str, str]):
        where.add("(d.tenant_id, d.device_id) > ({}, {})", *after)
    query = f"{_SELECT} WHERE {where} ORDER BY d.tenant_id, d.device_id LIMIT {where.put(limit + 1)}"
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return page_of(rows, limit, _item, "tenant_id", "device_id")


async def one_device(pool: asyncpg.Pool[Any], tenant_id: str, device_id: str) -> dict[str, Any]:
    """One device. Raises NotFound."""
    with asking():
        row = await pool.fetchrow(f"{_SELECT} WHERE d.tenant_id = $1 AND d.device_id = $2", tenant_id, device_id)
    if row is None:
        raise NotFound(f"there is no device {device_id!r} of tenant {tenant_id!r}")
    return _item(row)


def _item(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "labels": msgspec.json.decode(row["labels"]), "source": row["source"] or ""}
