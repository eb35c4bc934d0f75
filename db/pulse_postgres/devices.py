"""Devices with how they are doing, as people read them (pulse_admin, pulse_operator, pulse_web)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import KEY, By, Orders, Sorted

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

_IN_STATUS = {
    "REVOKED": "d.revoked_at IS NOT NULL",
    "STALE": "d.revoked_at IS NULL AND s.status = 'STALE'",
    "ONLINE": "d.revoked_at IS NULL AND s.status = 'ONLINE' AND"
    " (s.status_until IS NULL OR s.status_until >= now() - interval '5 seconds')",
    "UNKNOWN": f"{STATUS} = 'UNKNOWN'",
}
"""As ``STATUS = …``, in words that an index answers, with the status as a constant: plans depend on it."""

_SHOWN = f"""
    d.tenant_id, d.device_id, d.site_id, d.name, d.labels, {STATUS} AS status, s.status_since, s.last_seen_at,
    s.last_ts, s.source, d.activated, d.revoked_at, d.stale_after_s, d.revision, d.created_at, d.updated_at
"""
_FROM = "devices d LEFT JOIN device_state s USING (tenant_id, device_id)"

_ONE = f"SELECT {_SHOWN} FROM {_FROM} WHERE d.tenant_id = $1 AND d.device_id = $2"

_HEARD = "SELECT EXISTS (SELECT FROM device_state WHERE tenant_id = $1 AND last_seen_at IS NOT NULL)"

DEVICE_ORDERS = Orders(
    by={
        "device_id": KEY,
        "name": By("d.name"),
        "site_id": By("d.site_id"),
        "status": By(STATUS),
        "last_seen_at": By("s.last_seen_at", datetime, nullable=True),
        "created_at": By("d.created_at", datetime),
    },
    key={"tenant_id": By("d.tenant_id"), "device_id": By("d.device_id")},
    default="device_id",
)
"""There are indexes for the name, the site and the time of registration. What changes with every reading has none."""


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
        if self.status is not None:
            where.add(_IN_STATUS.get(self.status, "false"))
        if self.search is not None:
            wanted = where.put(self.search)
            where.add(
                f"(strpos(lower(d.device_id), lower({wanted})) > 0 OR strpos(lower(d.name), lower({wanted})) > 0)"
            )
        if self.label is not None:
            name, colon, value = self.label.partition(":")
            which = f"l.name = {where.put(name)}" + (f" AND l.value = {where.put(value)}" if colon else "")
            where.add(f"(d.tenant_id, d.device_id) IN (SELECT tenant_id, device_id FROM device_labels l WHERE {which})")
        return where


async def device_page(
    pool: Connections,
    wanted: DeviceFilter,
    *,
    tenant_id: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Devices, of all tenants unless one is named; by tenant and id unless ``sort`` is another of DEVICE_ORDERS."""
    part = Sorted(DEVICE_ORDERS, sort, limit, cursor)
    where = wanted.where(Where())
    where.add_given("d.tenant_id = {}", tenant_id)
    part.begin(where)
    query = f"""
        SELECT {_SHOWN}, {part.position} FROM {_FROM}
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, _item)


async def one_device(pool: Connections, tenant_id: str, device_id: str) -> dict[str, Any]:
    """One device. Raises NotFound."""
    with asking():
        row = await pool.fetchrow(_ONE, tenant_id, device_id)
    if row is None:
        raise NotFound("there is no such device")
    return _item(row)


async def has_sent(pool: Connections, tenant_id: str) -> bool:
    """Whether any device of a tenant was ever heard."""
    with asking():
        return bool(await pool.fetchval(_HEARD, tenant_id))


def _item(row: asyncpg.Record) -> dict[str, Any]:
    return {**item_of(row), "labels": msgspec.json.decode(row["labels"]), "source": row["source"] or ""}
