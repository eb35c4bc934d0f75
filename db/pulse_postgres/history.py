"""What happened to a tenant over the last day: messages by minute, alerts and deliveries by hour.

Messages are counted while they are committed, so nothing that grows with them is read here.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_postgres.acting import asking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_postgres.connections import Connections

MINUTE_S = 60
HOUR_S = 3600
OVER = dt.timedelta(hours=24)

_ACCEPTED = """
    SELECT minute, sum(accepted)::bigint FROM accepted_counts
    WHERE tenant_id = $1 AND minute >= $2 AND minute <= $3 GROUP BY 1
"""
_REFUSED = """
    SELECT minute, sum(rejected)::bigint FROM quarantine_counts
    WHERE tenant_id = $1 AND minute >= $2 AND minute <= $3 GROUP BY 1
"""
_OPENED = """
    SELECT date_bin('1 hour', opened_at, timestamptz 'epoch'), count(*) FROM alerts
    WHERE tenant_id = $1 AND opened_at >= $2 AND opened_at <= $3 GROUP BY 1
"""
# By when they were made: what the index is ordered by. Nearly all of them end in the same hour.
_ENDED = """
    SELECT date_bin('1 hour', created_at, timestamptz 'epoch'), count(*) FROM deliveries
    WHERE tenant_id = $1 AND created_at >= $2 AND created_at <= $3 AND status = $4 GROUP BY 1
"""


class Counted(Struct, frozen=True):
    """What happened in equal parts of a time, every one of which is there."""

    name: str
    bucket_s: int
    starts: list[dt.datetime]
    lines: dict[str, list[int]]

    def by_hour(self) -> Counted:
        """The same, in hours."""
        hours = sorted({each.replace(minute=0) for each in self.starts})
        sums = {name: dict.fromkeys(hours, 0) for name in self.lines}
        for name, counts in self.lines.items():
            for start, count in zip(self.starts, counts, strict=True):
                sums[name][start.replace(minute=0)] += count
        return Counted(self.name, HOUR_S, hours, {name: list(each.values()) for name, each in sums.items()})


async def last_day(pool: Connections, tenant_id: str, now: dt.datetime) -> list[Counted]:
    """Messages accepted and refused by minute; alerts opened, deliveries made that succeeded and failed by hour."""
    minutes, hours = _starts(now, MINUTE_S), _starts(now, HOUR_S)
    by_minute, by_hour = (tenant_id, minutes[0], now), (tenant_id, hours[0], now)
    accepted = await _counted(pool, _ACCEPTED, minutes, by_minute)
    refused = await _counted(pool, _REFUSED, minutes, by_minute)
    opened = await _counted(pool, _OPENED, hours, by_hour)
    delivered = await _counted(pool, _ENDED, hours, (*by_hour, "DELIVERED"))
    failed = await _counted(pool, _ENDED, hours, (*by_hour, "DEAD"))
    return [
        Counted("messages", MINUTE_S, minutes, {"accepted": accepted, "refused": refused}),
        Counted("alerts", HOUR_S, hours, {"opened": opened}),
        Counted("deliveries", HOUR_S, hours, {"delivered": delivered, "failed": failed}),
    ]


async def messages_a_minute(pool: Connections, tenant_id: str, now: dt.datetime) -> int:
    """How many messages were accepted in the last 60 seconds, near enough: of the minute before this one, a part."""
    before, this = _starts(now, MINUTE_S)[-2:]
    counts = await _counted(pool, _ACCEPTED, [before, this], (tenant_id, before, now))
    passed = (now - this).total_seconds() / MINUTE_S
    return round(counts[0] * (1 - passed) + counts[1])


async def _counted(pool: Connections, query: str, starts: list[dt.datetime], arguments: Iterable[Any]) -> list[int]:
    with asking():
        found = dict(tuple(row) for row in await pool.fetch(query, *arguments))
    return [found.get(start, 0) for start in starts]


def _starts(now: dt.datetime, bucket_s: int) -> list[dt.datetime]:
    """When each part of the last day begins; the last one is not over yet."""
    last_s = int(now.timestamp()) // bucket_s * bucket_s
    first_s = last_s - int(OVER.total_seconds())
    return [dt.datetime.fromtimestamp(at_s, dt.UTC) for at_s in range(first_s, last_s + 1, bucket_s)]
