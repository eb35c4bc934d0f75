"""Readings that a tenant takes away as files: asked for, told how far they are, fetched, and given up."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.errors import Conflict, NotFound
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import By, Orders, Sorted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from pulse_postgres.connections import Connections

STATUS = "CASE WHEN status = 'DONE' AND expires_at <= now() THEN 'EXPIRED' ELSE status END"
"""SQL for the status that is true now: files are swept only now and then."""

_SHOWN = f"""
    export_id, format, devices, sites, metrics, starts_at, ends_at, {STATUS} AS status, readings, bytes, share, error,
    created_at, created_by, started_at, finished_at, expires_at
"""
_ONE = f"SELECT {_SHOWN} FROM telemetry_exports WHERE tenant_id = $1 AND export_id = $2"
# One after the other for each tenant: who counts must see what was added just before.
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('telemetry_exports ' || $1, 0))"
_COUNTED = f"""
    SELECT count(*) FILTER (WHERE status IN ('PENDING', 'RUNNING')), count(*) FILTER (WHERE {STATUS} = 'DONE')
    FROM telemetry_exports WHERE tenant_id = $1
"""
_ADD = """
    INSERT INTO telemetry_exports
        (tenant_id, export_id, format, devices, sites, metrics, starts_at, ends_at, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_STATUS = f"SELECT {STATUS} FROM telemetry_exports WHERE tenant_id = $1 AND export_id = $2 FOR UPDATE"
_CANCEL = """
    UPDATE telemetry_exports SET status = 'CANCELLED', finished_at = now(), worker = NULL, claimed_until = NULL
    WHERE tenant_id = $1 AND export_id = $2
"""
_EMPTY = "DELETE FROM telemetry_export_pieces WHERE tenant_id = $1 AND export_id = $2"
_DELETE = "DELETE FROM telemetry_exports WHERE tenant_id = $1 AND export_id = $2"
_PIECE = """
    SELECT p.piece FROM telemetry_export_pieces p JOIN telemetry_exports e USING (tenant_id, export_id)
    WHERE e.tenant_id = $1 AND p.tenant_id = $1 AND export_id = $2 AND number = $3
      AND status = 'DONE' AND expires_at > now()
"""
_OPEN = frozenset({"PENDING", "RUNNING"})

EXPORT_ORDERS = Orders(
    by={"created_at": By("created_at", dt.datetime, backward=True)},
    key={"tenant_id": By("tenant_id"), "export_id": By("export_id", uuid.UUID)},
    default="-created_at",
)


class Wanted(Struct, frozen=True, kw_only=True):
    """Which readings, and as what. None: whichever; without ``starts_at``, from the first."""

    format: str
    devices: list[str] | None
    sites: list[str] | None
    metrics: list[str] | None
    starts_at: dt.datetime | None
    ends_at: dt.datetime


class Limits(Struct, frozen=True):
    """How many exports a tenant may have."""

    active: int
    """That wait or run."""
    kept: int
    """Whose file can be fetched."""


async def export_page(
    pool: Connections, *, tenant_id: str, sort: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page:
    """A tenant's exports, the newest first."""
    part = Sorted(EXPORT_ORDERS, sort, limit, cursor)
    where = Where()
    where.add("tenant_id = {}", tenant_id)
    part.begin(where)
    query = f"""
        SELECT tenant_id, {_SHOWN}, {part.position} FROM telemetry_exports
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, _item)


async def one_export(pool: Connections, tenant_id: str, export_id: uuid.UUID) -> dict[str, Any]:
    """One export. Raises NotFound."""
    with asking():
        row = await pool.fetchrow(_ONE, tenant_id, export_id)
    if row is None:
        raise NotFound("there is no such export")
    return _item(row)


async def add_export(
    pool: Connections, tenant_id: str, wanted: Wanted, *, actor: str, limits: Limits
) -> dict[str, Any]:
    """Ask for an export; whoever works on them takes it up.

    :raises Conflict: the tenant has as many as it may.
    """
    export_id = uuid.uuid4()
    async with acting(pool) as connection:
        await connection.execute(_ALONE, tenant_id)
        counted = await connection.fetchrow(_COUNTED, tenant_id)
        active, kept = counted or (0, 0)
        if active >= limits.active:
            raise Conflict(f"{active} exports are under way already: wait for one, or cancel it")
        if active + kept >= limits.kept:
            raise Conflict(f"there are {kept} files to fetch already: delete one first")
        asked = wanted.devices, wanted.sites, wanted.metrics, wanted.starts_at, wanted.ends_at
        await connection.execute(_ADD, tenant_id, export_id, wanted.format, *asked, actor)
        details = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
        resource = f"export {export_id}"
        await audit(connection, actor, "telemetry.export", tenant_id=tenant_id, resource=resource, details=details)
    return await one_export(pool, tenant_id, export_id)


async def end_export(pool: Connections, tenant_id: str, export_id: uuid.UUID, *, actor: str) -> bool:
    """Cancel an export that is under way, or delete one that is over with its file; return whether it was cancelled.

    :raises NotFound: there is none.
    """
    async with acting(pool) as connection:
        status = await connection.fetchval(_STATUS, tenant_id, export_id)
        if status is None:
            raise NotFound("there is no such export")
        cancelled = status in _OPEN
        if cancelled:
            await connection.execute(_EMPTY, tenant_id, export_id)
        await connection.execute(_CANCEL if cancelled else _DELETE, tenant_id, export_id)
        action = "telemetry.export_cancel" if cancelled else "telemetry.export_delete"
        await audit(connection, actor, action, tenant_id=tenant_id, resource=f"export {export_id}")
    return cancelled


async def pieces_of(pool: Connections, tenant_id: str, export_id: uuid.UUID) -> AsyncIterator[bytes]:
    """The file of an export that is done, in pieces, each as it was put there. Nothing once it is not there any more.

    No connection is held while whoever fetches it takes their time.
    """
    number = 0
    while True:
        with asking():
            piece = await pool.fetchval(_PIECE, tenant_id, export_id, number)
        if piece is None:
            return
        yield piece
        number += 1


def _item(row: asyncpg.Record) -> dict[str, Any]:
    item = item_of(row)
    item.pop("tenant_id", None)
    return item
