"""How the database and what works with it are doing, as far as the database itself can tell (as pulse_operator)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.records import PARTITIONS
from pulse_postgres.lanes import LOCK_CLASS
from pulse_postgres.pool import unavailable

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

_DATABASE = """
    SELECT pg_database_size(current_database()) AS size_bytes,
           (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL) AS connections,
           current_setting('max_connections')::int AS max_connections
"""
# What a process calls its connections: "pulse web (pulse_operator)", and "pulse lane" for those that commit batches.
_OF_ROLES = """
    SELECT split_part(application_name, ' ', 2) AS role, count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'pulse %' GROUP BY 1
"""
# A partition of the devices is served by whoever holds its lock, in whichever process.
_SERVED = f"""
    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.granted AND d.datname = current_database()
"""
_OVERDUE = """
    SELECT CASE WHEN min(due_at) < now() THEN extract(epoch FROM now() - min(due_at)) ELSE 0 END::float8 FROM deliveries
    WHERE status IN ('PENDING', 'RETRYING')
"""
ROLES = ("web", "pipeline", "deliver")


async def platform_now(pool: Connections) -> dict[str, Any]:
    """``database``, ``roles`` (connections by role), ``partitions`` of the devices and how many are ``served``.

    And ``overdue_s``: for how long the delivery that is due first has been so; 0: none is due.
    """
    with unavailable():
        database = await pool.fetchrow(_DATABASE)
        of_roles = {row[0]: row[1] for row in await pool.fetch(_OF_ROLES)}
        served = await pool.fetchval(_SERVED)
        overdue_s = await pool.fetchval(_OVERDUE)
    return {
        "database": dict(database or {}),
        "roles": {role: of_roles.get(role, 0) for role in ROLES},
        "partitions": PARTITIONS,
        "served": served,
        "overdue_s": overdue_s,
    }
