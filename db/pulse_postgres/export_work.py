"""Exports as whoever works on them sees them: whose turn it is, what is done, and what goes.

A file and how far it is are committed together, so whoever goes on after a crash finds a file that ends exactly where
its place says. Each piece is written only by who holds the export: one that was cancelled, or taken over by another
because its holder was thought dead, gets no piece more from the former.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.api import Place
from pulse_postgres.pool import unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_postgres.connections import Connections

# Turns: whoever was worked on last comes last, so that a long export keeps nobody's short one waiting.
_CLAIM = """
    UPDATE telemetry_exports SET status = 'RUNNING', worker = $1, claimed_until = now() + $2::interval,
        started_at = coalesce(started_at, now())
    WHERE (tenant_id, export_id) = (
        SELECT tenant_id, export_id FROM telemetry_exports
        WHERE status IN ('PENDING', 'RUNNING') AND (claimed_until IS NULL OR claimed_until <= now())
        ORDER BY coalesce(claimed_until, created_at) LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING tenant_id, export_id, format, devices, sites, metrics, starts_at, ends_at, readings, pieces, place
"""
_HELD = "tenant_id = $1 AND export_id = $2 AND worker = $3 AND status = 'RUNNING'"
_GO_ON = f"""
    UPDATE telemetry_exports SET readings = $4, bytes = bytes + $5, pieces = $6, share = $7, place = $8::jsonb,
        claimed_until = now() + $9::interval
    WHERE {_HELD} RETURNING true
"""
_PIECE = "INSERT INTO telemetry_export_pieces (tenant_id, export_id, number, piece) VALUES ($1, $2, $3, $4)"
_FINISH = f"""
    UPDATE telemetry_exports SET status = 'DONE', share = 1, worker = NULL, claimed_until = NULL, place = NULL,
        finished_at = now(), expires_at = now() + $4::interval
    WHERE {_HELD}
"""
_FAIL = f"""
    WITH failed AS (
        UPDATE telemetry_exports SET status = 'FAILED', error = $4, worker = NULL, claimed_until = NULL,
            finished_at = now()
        WHERE {_HELD} RETURNING tenant_id, export_id)
    DELETE FROM telemetry_export_pieces p USING failed f WHERE p.tenant_id = $1 AND p.export_id = f.export_id
"""
_RELEASE = f"UPDATE telemetry_exports SET worker = NULL, claimed_until = now() + $4::interval WHERE {_HELD}"
_DUE = """
    SELECT tenant_id, export_id FROM telemetry_exports
    WHERE status = 'DONE' AND expires_at <= now() LIMIT 1000
"""
_EXPIRE = """
    WITH expired AS (
        UPDATE telemetry_exports SET status = 'EXPIRED'
        WHERE tenant_id = $1 AND export_id = $2 AND status = 'DONE' AND expires_at <= now() RETURNING export_id)
    DELETE FROM telemetry_export_pieces p USING expired e WHERE p.tenant_id = $1 AND p.export_id = e.export_id
"""
_FORGET = "DELETE FROM telemetry_exports WHERE finished_at < now() - $1::interval AND status <> 'DONE'"
_DEVICES = """
    SELECT device_id FROM devices
    WHERE tenant_id = $1 AND ($2::text[] IS NULL OR device_id = ANY($2)) AND ($3::text[] IS NULL OR site_id = ANY($3))
    ORDER BY device_id COLLATE "C"
"""


class Job(Struct, frozen=True):
    """An export that is held, and how far it is."""

    tenant_id: str
    export_id: uuid.UUID
    worker: uuid.UUID
    format: str
    devices: tuple[str, ...] | None
    sites: tuple[str, ...] | None
    metrics: tuple[str, ...] | None
    starts_at: dt.datetime | None
    ends_at: dt.datetime
    readings: int
    pieces: int
    place: Place | None


class Step(Struct, frozen=True):
    """What was done of an export: pieces of its file, how long they are unpacked, and how far it is now."""

    pieces: list[bytes]
    length: int
    readings: int
    place: Place | None
    share: float


async def claim(pool: Connections, lease: dt.timedelta) -> Job | None:
    """Take the export whose turn it is; None: there is none. ``pool`` logs in as pulse_admin."""
    worker = uuid.uuid4()
    with unavailable():
        row = await pool.fetchrow(_CLAIM, worker, lease)
    if row is None:
        return None
    devices, sites, metrics = (
        None if row[name] is None else tuple(row[name]) for name in ("devices", "sites", "metrics")
    )
    return Job(
        row["tenant_id"],
        row["export_id"],
        worker,
        row["format"],
        devices,
        sites,
        metrics,
        row["starts_at"],
        row["ends_at"],
        row["readings"],
        row["pieces"],
        msgspec.json.decode(row["place"], type=Place) if row["place"] else None,
    )


async def go_on(pool: Connections, job: Job, step: Step, lease: dt.timedelta) -> Job | None:
    """Commit what was done; return the export as it is now, or None: it is not held any more.

    ``pool`` is the tenant's, as of all that follow but for :func:`due` and :func:`forget`.
    """
    pieces, readings = job.pieces + len(step.pieces), job.readings + step.readings
    place = msgspec.json.encode(step.place).decode() if step.place is not None else None
    with unavailable():
        async with pool.acquire() as connection, connection.transaction():
            told = readings, step.length, pieces, step.share, place, lease
            if not await connection.fetchval(_GO_ON, job.tenant_id, job.export_id, job.worker, *told):
                return None
            for number, piece in enumerate(step.pieces, job.pieces):
                await connection.execute(_PIECE, job.tenant_id, job.export_id, number, piece)
    return msgspec.structs.replace(job, pieces=pieces, readings=readings, place=step.place)


async def finish(pool: Connections, job: Job, kept: dt.timedelta) -> None:
    """The file is whole, and is kept for so long."""
    with unavailable():
        await pool.execute(_FINISH, job.tenant_id, job.export_id, job.worker, kept)


async def fail(pool: Connections, job: Job, error: str) -> None:
    """It comes to nothing."""
    with unavailable():
        await pool.execute(_FAIL, job.tenant_id, job.export_id, job.worker, error)


async def release(pool: Connections, job: Job, wait: dt.timedelta = dt.timedelta(0)) -> None:
    """Let anybody go on with it, after a while."""
    with unavailable():
        await pool.execute(_RELEASE, job.tenant_id, job.export_id, job.worker, wait)


async def due(pool: Connections) -> list[tuple[str, uuid.UUID]]:
    """Exports whose file is to go, and their tenants. ``pool`` logs in as pulse_admin."""
    with unavailable():
        return [(row[0], row[1]) for row in await pool.fetch(_DUE)]


async def expire(pool: Connections, tenant_id: str, export_id: uuid.UUID) -> None:
    """Its file goes; that there was one is still told."""
    with unavailable():
        await pool.execute(_EXPIRE, tenant_id, export_id)


async def forget(pool: Connections, after: dt.timedelta) -> None:
    """Nothing is told any more of exports that ended so long ago. ``pool`` logs in as pulse_admin."""
    with unavailable():
        await pool.execute(_FORGET, after)


async def devices_in_order(
    pool: Connections, tenant_id: str, devices: Sequence[str] | None, sites: Sequence[str] | None
) -> list[str]:
    """The registered devices of a tenant, or those of them and at those sites, in the order of their readings."""
    with unavailable():
        rows: list[Any] = await pool.fetch(_DEVICES, tenant_id, devices, sites)
    return [row[0] for row in rows]
