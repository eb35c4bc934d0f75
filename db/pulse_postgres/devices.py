"""Devices with how they are doing, as people read them (pulse_admin, pulse_operator, pulse_web)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, page_of, read_cursor, within

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

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
           s.last_ts, s.source, d.activated, d.revoked_at, d.stale_after_s, d.revision,
           d.created_at, d.updated_at
    FROM devices d LEFT JOIN device_state s USING (tenant_id, device_id)
"""


class DeviceFilter(Struct, frozen=True, kw_only=True):
    """Which devices; what is None does not matter.

    ``status`` is a derived one: ONLINE, STALE, UNKNOWN or REVOKED. ``prefix`` is what the id begins with, ``search``
    stands in the id or the name, in any case. ``label`` is ``name:value``, or ``name`` alone for any value.
    """

    site_id: str | None = None
    status: str | None = None
    prefix: str | None = None
    search: str | None = None
    label: str | None = None

    def where(self, where: Where) -> Where:
        """Add the conditions."""
        where.add_given("d.site_id = {}", self.site_id)
        where.add_given("starts_with(d.device_id, {})", self.prefix)
        where.add_given(f"{STATUS} = {{}}", self.status)
        if self.search is not None:
            wanted = where.put(self.search)
            where.add(
                f"(strpos(lower(d.device_id), lower({wanted})) > 0 OR strpos(lower(d.name), lower({wanted})) > 0)"
            )
        if self.label is not None:
            name, colon, value = self.label.partition(":")
            where.add("d.labels ->> {}::text = {}" if colon else "d.labels ? {}", *([name, value] if colon else [name]))
        return where


async def device_page(
    pool: Connections,
    wanted: DeviceFilter,
    *,
    tenant_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Devices by tenant and id, of all tenants unless one is named."""
    limit = within(limit)
    where = wanted.where(Where())
    where.add_given("d.tenant_id = {}", tenant_id)
    if after := read_cursor(cursor, tuple[str, str]):
        where.add("(d.tenant_id, d.device_id) > ({}, {})", *after)
    query = f"{_SELECT} WHERE {where} ORDER BY d.tenant_id, d.device_id LIMIT {where.put(limit + 1)}"
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return page_of(rows, limit, _item, "tenant_id", "device_id")


async def one_device(pool: Connections, tenant_id: str, device_id: str) -> dict[str, Any]:
    """One device. Raises NotFound."""
    with asking():
        row = await pool.fetchrow(f"{_SELECT} WHERE d.tenant_id = $1 AND d.device_id = $2", tenant_id, device_id)
    if row is None:
        raise NotFound("there is no such device")
    return _item(row)


def _item(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "labels": msgspec.json.decode(row["labels"]), "source": row["source"] or ""}
