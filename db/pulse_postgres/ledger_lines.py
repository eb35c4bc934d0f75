"""What the ledger compares, line by line. Each is given a way to ask the database, in the ledger's transaction."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pulse_core.ledger import Booked, Day, Line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from asyncpg import Record

    Ask = Callable[..., Awaitable[list[Record]]]
    """Takes a query and its arguments."""
    Choice = Callable[[Mapping[dt.date, Booked]], Collection[dt.date]]
    """Which of the days in the books are to be counted."""

EXAMPLES = 10
"""A line that differs names so many of its rows."""

_BOOKS = """
    SELECT day, sum(accepted)::bigint, sum(expired)::bigint, bool_or(kept)
    FROM (SELECT day, accepted, 0 AS expired, false AS kept FROM readings_accepted
          UNION ALL SELECT day, 0, expired, false FROM readings_expired
          UNION ALL SELECT to_date(right(c.relname, 8), 'YYYYMMDD'), 0, 0, true
                    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = 'telemetry'::regclass) AS b
    GROUP BY day ORDER BY day DESC
"""

# One partition, and nothing but its key: an index-only scan, wherever that is less to read than the table.
_STORED = "SELECT count(*) FROM telemetry WHERE ts >= $1 AND ts < $2"

# forgotten: the delivery was deleted with its integration before the ledger began.
_PRIMARIES = """
    SELECT * FROM
        (SELECT c.tenant_id, c.alert_id, c.event, (d ->> 'route_id')::uuid AS route_id, count(*) AS matched
         FROM alert_changes c,
              jsonb_path_query(c.decisions, '$[*] ? (@.matched == true && !(@.forgotten == true))') AS d
         GROUP BY 1, 2, 3, 4) AS m
    FULL JOIN
        (SELECT tenant_id, alert_id, event, route_id, count(*) AS made, array_agg(delivery_id) AS delivery_ids
         FROM deliveries WHERE cause = 'alert' GROUP BY 1, 2, 3, 4) AS p
    USING (tenant_id, alert_id, event, route_id)
"""
_COUNT_PRIMARIES = f"""
    SELECT coalesce(sum(matched), 0)::bigint, coalesce(sum(made), 0)::bigint,
           coalesce(sum(abs(coalesce(matched, 0) - coalesce(made, 0))), 0)::bigint
    FROM ({_PRIMARIES}) AS pairs
"""
_WRONG_PRIMARIES = f"""
    SELECT CASE WHEN matched IS NULL THEN 'not decided' WHEN matched > coalesce(made, 0) THEN 'missing'
                ELSE 'more than one' END AS problem, tenant_id, alert_id, event, route_id, delivery_ids
    FROM ({_PRIMARIES}) AS pairs
    WHERE matched IS DISTINCT FROM made ORDER BY tenant_id, alert_id, event, route_id LIMIT {EXAMPLES}
"""

_OTHERS = """
    SELECT d.tenant_id, d.delivery_id, d.cause, d.alert_id, d.caused_by,
           CASE WHEN d.cause = 'test' THEN d.alert_id IS NULL AND d.caused_by IS NULL
                WHEN d.cause IN ('fallback', 'replay')
                    THEN o.delivery_id IS NOT NULL AND o.alert_id IS NOT DISTINCT FROM d.alert_id
                ELSE d.alert_id IS NOT NULL END AS founded
    FROM deliveries d LEFT JOIN deliveries o ON o.tenant_id = d.tenant_id AND o.delivery_id = d.caused_by
    WHERE d.cause <> 'alert'
"""
_COUNT_OTHERS = f"SELECT count(*), count(*) FILTER (WHERE founded) FROM ({_OTHERS}) AS others"
_UNFOUNDED = f"""
    SELECT tenant_id, delivery_id, cause, alert_id, caused_by FROM ({_OTHERS}) AS others
    WHERE NOT founded ORDER BY tenant_id, delivery_id LIMIT {EXAMPLES}
"""

_STATUSES = "SELECT status, count(*) FROM deliveries GROUP BY status"
_ODD_STATUSES = f"""
    SELECT tenant_id, delivery_id, status FROM deliveries WHERE NOT status = ANY($1::text[])
    ORDER BY tenant_id, delivery_id LIMIT {EXAMPLES}
"""
_COLUMNS = {
    "DELIVERED": "delivered",
    "PENDING": "pending",
    "SENDING": "pending",
    "RETRYING": "pending",
    "DEAD": "dead",
    "CANCELLED": "cancelled",
}

READINGS = "readings accepted = stored + expired (by retention, or removed with their tenant)"


async def count_days(ask: Ask, choose: Choice) -> list[Day]:
    """Count the stored readings of the days that are chosen from those in the books, newest first."""
    books = {row[0]: Booked(row[1], row[2], row[3]) for row in await ask(_BOOKS)}
    chosen = set(choose(books))
    return [
        Day(day, booked.accepted, await _stored(ask, day) if booked.kept else 0, booked.expired)
        for day, booked in books.items()
        if day in chosen
    ]


async def _stored(ask: Ask, day: dt.date) -> int:
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    ((stored,),) = await ask(_STORED, midnight, midnight + dt.timedelta(days=1))
    return int(stored)


def readings_line(days: Collection[Day]) -> Line:
    """Every reading that was accepted is stored, or its day has expired, or its tenant was removed."""
    wrong = [day for day in days if day.difference]
    return Line(
        "readings",
        READINGS,
        {"accepted": sum(day.accepted for day in days)},
        {"stored": sum(day.stored for day in days), "expired": sum(day.expired for day in days)},
        sum(day.difference for day in wrong),
        tuple(
            {"day": day.day, "accepted": day.accepted, "stored": day.stored, "expired": day.expired}
            for day in wrong[:EXAMPLES]
        ),
    )


async def decisions_line(ask: Ask) -> Line:
    """Whatever a route decided to tell has one primary delivery, and there is no other primary delivery."""
    ((matched, made, difference),) = await ask(_COUNT_PRIMARIES)
    return Line(
        "decisions",
        "each decision that matched has exactly one primary delivery",
        {"matched": matched},
        {"primary": made},
        difference,
        await _examples(ask, _WRONG_PRIMARIES) if difference else (),
    )


async def causes_line(ask: Ask) -> Line:
    """Nothing else was sent without a reason."""
    ((others, founded),) = await ask(_COUNT_OTHERS)
    return Line(
        "causes",
        "each other delivery has a cause",
        {"other": others},
        {"caused": founded},
        others - founded,
        await _examples(ask, _UNFOUNDED) if others != founded else (),
    )


async def deliveries_line(ask: Ask) -> Line:
    """Nothing that was promised is in no state at all."""
    counts: dict[str, int] = {row[0]: row[1] for row in await ask(_STATUSES)}
    columns = dict.fromkeys(_COLUMNS.values(), 0)
    for status, column in _COLUMNS.items():
        columns[column] += counts.get(status, 0)
    total = sum(counts.values())
    difference = total - sum(columns.values())
    return Line(
        "deliveries",
        "deliveries = delivered + pending + dead + cancelled",
        {"deliveries": total},
        columns,
        difference,
        await _examples(ask, _ODD_STATUSES, list(_COLUMNS)) if difference else (),
    )


async def _examples(ask: Ask, query: str, *arguments: Any) -> tuple[dict[str, Any], ...]:
    return tuple(dict(row) for row in await ask(query, *arguments))
