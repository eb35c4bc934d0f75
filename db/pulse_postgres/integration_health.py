"""How integrations are doing: what succeeded and failed last, what waits, and whether the endpoint is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_postgres.acting import asking

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    import asyncpg

    from pulse_postgres.connections import Connections

RECENT = 1000
"""Failures are looked for among so many of an integration's newest deliveries: the cost stays bounded."""

# Of which integrations, and how their tenant is called there.
_HEALTH = f"""
    SELECT %(tenant)s::text AS tenant_id, i.integration_id, s.last_success_at, f.*, q.waiting, q.oldest_due_at,
           b.opened_at, b.probe_at, b.failures, b.last_error
    FROM %(of)s
    LEFT JOIN LATERAL (
        SELECT finished_at AS last_success_at FROM deliveries
        WHERE tenant_id = %(tenant)s AND integration_id = i.integration_id AND status = 'DELIVERED'
        ORDER BY created_at DESC LIMIT 1) s ON true
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE a.started_at > now() - interval '24 hours') AS attempts,
               count(*) FILTER (WHERE a.failed AND a.started_at > now() - interval '24 hours') AS failed,
               max(a.started_at) FILTER (WHERE a.failed) AS last_failure_at,
               (array_agg(a.detail ORDER BY a.started_at DESC) FILTER (WHERE a.failed))[1] AS last_failure
        FROM (SELECT tenant_id, delivery_id FROM deliveries
              WHERE tenant_id = %(tenant)s AND integration_id = i.integration_id
              ORDER BY created_at DESC LIMIT {RECENT}) d
        CROSS JOIN LATERAL (
            SELECT started_at, outcome <> 'DELIVERED' AS failed, detail FROM delivery_attempts
            WHERE tenant_id = d.tenant_id AND delivery_id = d.delivery_id) a) f
    CROSS JOIN LATERAL (
        SELECT count(*) AS waiting, min(due_at) AS oldest_due_at FROM deliveries
        WHERE tenant_id = %(tenant)s AND integration_id = i.integration_id AND status IN ('PENDING', 'RETRYING')) q
    LEFT JOIN breakers b ON b.tenant_id = %(tenant)s AND b.integration_id = i.integration_id
"""
_OF_ONE_TENANT = _HEALTH % {"of": "unnest($2::uuid[]) AS i (integration_id)", "tenant": "$1"}
_OF_SEVERAL = _HEALTH % {
    "of": "unnest($1::text[], $2::uuid[]) AS i (tenant_id, integration_id)",
    "tenant": "i.tenant_id",
}


async def health_of(
    pool: Connections, tenant_id: str, integration_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, Any]]:
    """The health of each integration.

    ``last_success_at``; ``last_failure`` ({at, detail}); over the last 24 hours ``attempts`` and their
    ``failure_rate`` (0 to 1, None without attempts); ``queue`` ({waiting, oldest_due_at}); ``breaker`` ({state}, and
    while it is OPEN {since, next_probe_at, failures, last_error}).
    """
    with asking():
        rows = await pool.fetch(_OF_ONE_TENANT, tenant_id, list(integration_ids))
    return {row["integration_id"]: _health(row) for row in rows}


async def health_of_several(
    pool: Connections, integrations: Sequence[dict[str, Any]]
) -> dict[tuple[str, uuid.UUID], dict[str, Any]]:
    """The health of integrations of any tenants (pulse_operator), by tenant and id; as :func:`health_of`."""
    keys = [(each["tenant_id"], each["integration_id"]) for each in integrations]
    with asking():
        rows = await pool.fetch(_OF_SEVERAL, [key[0] for key in keys], [key[1] for key in keys])
    return {(row["tenant_id"], row["integration_id"]): _health(row) for row in rows}


def _health(row: asyncpg.Record) -> dict[str, Any]:
    failed_at = row["last_failure_at"]
    return {
        "last_success_at": row["last_success_at"],
        "last_failure": None if failed_at is None else {"at": failed_at, "detail": row["last_failure"]},
        "attempts_24h": row["attempts"],
        "failure_rate_24h": row["failed"] / row["attempts"] if row["attempts"] else None,
        "queue": {"waiting": row["waiting"], "oldest_due_at": row["oldest_due_at"]},
        "breaker": _breaker(row),
    }


def _breaker(row: asyncpg.Record) -> dict[str, Any]:
    if row["opened_at"] is None:
        return {"state": "CLOSED"}
    return {
        "state": "OPEN",
        "since": row["opened_at"],
        "next_probe_at": row["probe_at"],
        "failures": row["failures"],
        "last_error": row["last_error"],
    }
