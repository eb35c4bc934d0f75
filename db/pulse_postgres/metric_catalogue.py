"""What people said of a tenant's metrics: unit, description, range (pulse_web, pulse_admin; pulse_operator reads)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import NotFound, PermanentFailure
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.revisions import demand_revision

if TYPE_CHECKING:
    from collections.abc import Collection

    import asyncpg

    from pulse_postgres.connections import Connections

MOST_ENTRIES = 2000
"""So many metrics of a tenant can be described: a list of them all is held in memory."""

_COLUMNS = "tenant_id, name, unit, description, low, high, revision, updated_at, updated_by"
_SEVERAL = f"""
    SELECT {_COLUMNS} FROM metric_catalogue
    WHERE tenant_id = $1 AND ($2::text[] IS NULL OR name = ANY($2)) ORDER BY name LIMIT {MOST_ENTRIES}
"""
_LOCKED = f"SELECT {_COLUMNS} FROM metric_catalogue WHERE tenant_id = $1 AND name = $2 FOR UPDATE"
_COUNT = "SELECT count(*) FROM metric_catalogue WHERE tenant_id = $1"
_CREATE = f"""
    INSERT INTO metric_catalogue (tenant_id, name, unit, description, low, high, updated_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_COLUMNS}
"""
_CHANGE = f"""
    UPDATE metric_catalogue SET unit = $3, description = $4, low = $5, high = $6, updated_by = $7,
        updated_at = clock_timestamp()
    WHERE tenant_id = $1 AND name = $2 RETURNING {_COLUMNS}
"""
_DELETE = "DELETE FROM metric_catalogue WHERE tenant_id = $1 AND name = $2"


class Said(Struct, frozen=True, kw_only=True):
    """What is said of a metric. A bound that is None is none; both belong to the range."""

    unit: str = ""
    description: str = ""
    low: float | None = None
    high: float | None = None


class MetricCatalogue:
    """Every call names its tenant. An entry is a dict of what was :class:`Said`, and when and by whom."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def entries(self, tenant_id: str, names: Collection[str] | None = None) -> list[dict[str, Any]]:
        """What was said of some metrics, or of all, by name. Those of which nothing was said are not there."""
        if names is not None and not names:
            return []
        wanted = None if names is None else list(names)
        with asking():
            return [dict(row) for row in await self._pool.fetch(_SEVERAL, tenant_id, wanted)]

    async def say(
        self, tenant_id: str, name: str, said: Said, *, actor: str, only_if: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Put ``said`` in place of what was said of a metric before, if anything was.

        :param only_if: see :func:`~pulse_postgres.revisions.demand_revision`; while nothing is said, it is 0.
        :raises Stale: it is none of those revisions.
        :raises Conflict: somebody else has said the first at the same moment.
        :raises NotFound: there is no such tenant.
        :raises PermanentFailure: there are too many, or the range is none.
        """
        values = msgspec.structs.astuple(said)
        async with acting(
            self._pool,
            exists="somebody else has just described it: look again, then decide",
            missing=f"there is no tenant {tenant_id!r}",
        ) as connection:
            before = await connection.fetchrow(_LOCKED, tenant_id, name)
            demand_revision(before["revision"] if before else 0, only_if)
            if before is None and await connection.fetchval(_COUNT, tenant_id) >= MOST_ENTRIES:
                raise PermanentFailure(f"at most {MOST_ENTRIES} metrics can be described")
            rows = await connection.fetch(_CHANGE if before else _CREATE, tenant_id, name, *values, actor)
            resource, details = f"{tenant_id}/{name}", _changed(before, said)
            await audit(connection, actor, "metric.describe", tenant_id=tenant_id, resource=resource, details=details)
        return dict(rows[0])

    async def forget(self, tenant_id: str, name: str, *, actor: str, only_if: Collection[str] | None = None) -> None:
        """Forget what was said of a metric; its readings stay. Raises NotFound: nothing was. Raises Stale."""
        async with acting(self._pool) as connection:
            before = await connection.fetchrow(_LOCKED, tenant_id, name)
            if before is None:
                raise NotFound("nothing is said of such a metric")
            demand_revision(before["revision"], only_if)
            await connection.execute(_DELETE, tenant_id, name)
            await audit(connection, actor, "metric.forget", tenant_id=tenant_id, resource=f"{tenant_id}/{name}")


def _changed(before: asyncpg.Record | None, said: Said) -> dict[str, Any]:
    old = before or msgspec.structs.asdict(Said())
    return {
        name: {"old": old[name], "new": value}
        for name, value in msgspec.structs.asdict(said).items()
        if value != old[name]
    }
