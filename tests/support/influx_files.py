"""How many files a query would open, as InfluxDB 3 Core counts them before it refuses: one for every ten minutes.

Core writes what it takes into a file for each ten minutes of readings, never merges them, and refuses a query that
needs more than 432 (72 hours), whatever it would find in them: a query must bound ``time``. Bounds count if they are
joined by AND; a query whose time is bounded in another way, or not at all, needs every file of the table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from support.influx_tables import InfluxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.influx_tables import Table

FILE_NS = 600 * 1_000_000_000
BOUND = re.compile(r"\.time (>=|>|<=|<|=) TimestampNanosecond\((-?\d+), None\)$")
SCAN = re.compile(r"TableScan: (.*?) projection=", re.DOTALL)


def refuse_many_files(plan: Any, tables: Mapping[str, Table], limit: int) -> None:
    """Refuse a plan that needs more files than the limit of any one table."""
    for name, since, until in _scans(plan, -(2**63), 2**63 - 1):
        if name not in tables:
            continue
        times = (time_ns for time_ns, _ in tables[name].points)
        if len({time_ns // FILE_NS for time_ns in times if since <= time_ns <= until}) > limit:
            raise InfluxError(
                400,
                f"error while planning query: External error: Query would exceed file limit of {limit} parquet files. "
                "Please specify a smaller time range for your query.",
            )


def _scans(plan: Any, since: int, until: int) -> Iterator[tuple[str, int, int]]:
    """Each table a plan reads, with the bounds of time above it."""
    shown = plan.display()
    if shown.startswith("Filter: "):
        for bound in filter(None, map(BOUND.search, _terms(shown))):
            sign, at = bound[1], int(bound[2])
            if sign in {">", ">=", "="}:
                since = max(since, at + (sign == ">"))
            if sign in {"<", "<=", "="}:
                until = min(until, at - (sign == "<"))
    elif found := SCAN.match(shown):
        yield found[1], since, until
    elif not shown.startswith(("Projection: ", "SubqueryAlias: ")):
        since, until = -(2**63), 2**63 - 1  # what is above it does not bound what it reads
    for below in plan.inputs():
        yield from _scans(below, since, until)


def _terms(shown: str) -> list[str]:
    """What a filter joins by AND at its outermost; nothing, if there is an OR there."""
    terms: list[str] = []
    depth = start = 0
    for found in re.finditer(r"[()]| AND | OR ", shown):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0 and found[0] == " OR ":
            return []
        if depth == 0 and found[0] == " AND ":
            terms.append(shown[start : found.start()])
            start = found.end()
    return [*terms, shown[start:]]
