"""How every tenant is doing, the worst first: the operators' matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.records import Severity
from pulse_postgres.device_counts import STATUSES, device_counts
from pulse_postgres.paging import Page, read_cursor, within, write_cursor
from pulse_postgres.pool import unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from pulse_postgres.connections import Connections

REJECTED_OVER_MIN = 5
"""The rate of refusals is over so many minutes."""
_NO_DEVICES = dict.fromkeys(STATUSES, 0)
_SEVERITIES = tuple(sorted(Severity, reverse=True))


def _counted(names: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"count(*) FILTER (WHERE {condition}) AS {name}" for name, condition in names)


# A table that is small beside the fleet, and one pass over each of the others: not one look-up a tenant and figure.
_ALL = f"""
    SELECT t.tenant_id, t.name, t.status, a.*, w.*, l.dead, r.rejected
    FROM tenants t
    LEFT JOIN (SELECT tenant_id AS of_a, {_counted([(each.name.lower(), f"severity = {each}") for each in _SEVERITIES])}
               FROM alerts WHERE status <> 'CLOSED' GROUP BY tenant_id) a ON of_a = t.tenant_id
    LEFT JOIN (SELECT tenant_id AS of_w, {_counted([("waiting", "true"), ("retrying", "status = 'RETRYING'")])}
               FROM deliveries WHERE status IN ('PENDING', 'SENDING', 'RETRYING') GROUP BY tenant_id) w
        ON of_w = t.tenant_id
    CROSS JOIN LATERAL (SELECT count(*) AS dead FROM deliveries
        WHERE tenant_id = t.tenant_id AND status = 'DEAD' AND created_at > now() - interval '1 day') l
    CROSS JOIN LATERAL (SELECT COALESCE(sum(rejected), 0)::bigint AS rejected FROM quarantine_counts
        WHERE tenant_id = t.tenant_id AND minute > now() - interval '{REJECTED_OVER_MIN} minutes') r
"""

_Place = tuple[int, int, int, int, int, int, int, str]


async def all_tenants(pool: Connections) -> list[dict[str, Any]]:
    """Every tenant, the worst first.

    Each with ``devices`` by status, ``alerts`` (not closed) by severity, deliveries that are ``waiting``, of which
    ``retrying`` failed at least once, those that were given up (``dead``) in 24 hours, and ``rejected_per_min``.
    """
    devices = await device_counts(pool)
    with unavailable():
        rows = await pool.fetch(_ALL)
    return sorted((_item(row, devices.get(row["tenant_id"], _NO_DEVICES)) for row in rows), key=_place)


def page_of(tenants: Sequence[dict[str, Any]], limit: int, cursor: str | None) -> Page:
    """Part of what :func:`all_tenants` gave. Raises PermanentFailure: this is no cursor of ours."""
    after = read_cursor(cursor, _Place)
    rest = [each for each in tenants if after is None or _place(each) > after]
    kept = rest[: within(limit)]
    return Page(kept, write_cursor(*_place(kept[-1])) if len(rest) > len(kept) else None)


def _item(row: asyncpg.Record, devices: dict[str, int]) -> dict[str, Any]:
    return {
        "tenant_id": row["tenant_id"],
        "name": row["name"],
        "status": row["status"],
        "devices": devices,
        "alerts": {each.name: row[each.name.lower()] or 0 for each in _SEVERITIES},
        "waiting": row["waiting"] or 0,
        "retrying": row["retrying"] or 0,
        "dead": row["dead"],
        "rejected_per_min": row["rejected"] / REJECTED_OVER_MIN,
    }


def _place(tenant: dict[str, Any]) -> _Place:
    """Where it stands: first whose alerts are gravest, then whose people are not told, then whose devices are away."""
    alerts, devices = tenant["alerts"], tenant["devices"]
    return (
        -alerts["CRITICAL"],
        -alerts["MAJOR"],
        -(tenant["dead"] + tenant["retrying"]),
        -devices["STALE"],
        -alerts["WARNING"],
        -round(tenant["rejected_per_min"]),
        -devices["UNKNOWN"],
        tenant["tenant_id"],
    )
