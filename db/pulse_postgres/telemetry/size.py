"""How many readings there are in PostgreSQL, and what room they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import Size
from pulse_postgres.pool import unavailable

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

COUNTED = 100_000
"""So many readings are counted: some 20 ms. More are estimated."""

_FEW = "SELECT count(*) FROM (SELECT FROM telemetry WHERE tenant_id = $1 LIMIT $2) AS found"
_FEW_OF_ALL = "SELECT count(*) FROM (SELECT FROM telemetry LIMIT $1) AS found"
_MANY = "EXPLAIN (FORMAT JSON) SELECT FROM telemetry WHERE tenant_id = $1"
# As the planner reckons: so many rows on a page as there were when it last looked, on as many pages as there are now.
_ALL = """
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint + (
            SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint
            FROM pg_inherits WHERE inhparent = 'telemetry_hours'::regclass),
        coalesce(sum(pg_relation_size(c.oid) / current_setting('block_size')::bigint
            * CASE WHEN c.relpages > 0 THEN c.reltuples / c.relpages ELSE 30 END), 0)::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'telemetry'::regclass
"""


async def size_of(pool: Connections, tenant_id: str | None) -> Size:
    """How much there is of a tenant, or of all: up to :data:`COUNTED` readings exactly, of more what PostgreSQL
    estimates, by what it last saw of each day. The room all of it takes is exact; a tenant is given its share by the
    number of its readings.
    """
    with unavailable():
        data_bytes, among = await _row(pool, _ALL)
        if tenant_id is None:
            (few,) = await _row(pool, _FEW_OF_ALL, COUNTED + 1)
            return Size(few if few <= COUNTED else max(few, among), data_bytes)
        (readings,) = await _row(pool, _FEW, tenant_id, COUNTED + 1)
        if readings > COUNTED:
            (plan,) = await _row(pool, _MANY, tenant_id)
            readings = max(readings, msgspec.json.decode(plan)[0]["Plan"]["Plan Rows"])
    return Size(readings, data_bytes * readings // max(readings, among, 1))


async def _row(pool: Connections, query: str, *arguments: object) -> Any:
    (row,) = await pool.fetch(query, *arguments)
    return row
