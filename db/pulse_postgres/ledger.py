"""The ledger: from the tables alone, is everything that came in, and everything that was promised, still there?"""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

from pulse_core.ledger import Line, Statement
from pulse_postgres.ledger_lines import (
    READINGS,
    causes_line,
    count_days,
    decisions_line,
    deliveries_line,
    readings_line,
)
from pulse_postgres.pool import CONNECT_TIMEOUT_S, unavailable

if TYPE_CHECKING:
    import asyncpg

    from pulse_core.ledger import Day
    from pulse_postgres.ledger_lines import Ask, Choice

PATIENCE_S = 600
"""How long one question may take: counting a day of readings, say."""
_GRACE_S = 5

# Taken before the snapshot, because a dropped day is gone for older snapshots, too. No lock on the table: lanes would
# queue behind whoever waits to drop a day. The pool lets go of it when the connection comes back.
_HOLD_DAYS = "SELECT pg_advisory_lock_shared(hashtext('drop_telemetry'))"
_ELSEWHERE = "not kept in these tables"


class Ledger:
    """Checks the books. ``pool`` logs in as pulse_operator.

    :param readings_kept: the active telemetry store keeps readings in this database, in the batch's transaction.
    """

    def __init__(self, pool: asyncpg.Pool[Any], *, readings_kept: bool) -> None:
        self._pool = pool
        self._readings_kept = readings_kept

    async def check(self, choose: Choice = list, *, patience_s: int = PATIENCE_S) -> Statement:
        """State the books as they are at one moment, while everybody works on.

        Everything is counted: ten seconds or more for each hundred million readings, two for each million deliveries.

        :param choose: which days of readings to count; all of them if not given.
        :raises StoreUnavailable: the database does not answer, or one question took longer than ``patience_s``.
        """
        with unavailable():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                await connection.execute(_HOLD_DAYS, timeout=patience_s)
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(f"SET LOCAL statement_timeout = '{patience_s:d}s'")
                    await connection.execute("SET LOCAL work_mem = '64MB'")
                    days, lines = await self._lines(partial(connection.fetch, timeout=patience_s + _GRACE_S), choose)
        return Statement(dt.datetime.now(dt.UTC), lines, days)

    async def _lines(self, ask: Ask, choose: Choice) -> tuple[tuple[Day, ...], tuple[Line, ...]]:
        days = await count_days(ask, choose) if self._readings_kept else []
        readings = readings_line(days) if self._readings_kept else Line("readings", READINGS, note=_ELSEWHERE)
        return tuple(days), (readings, await decisions_line(ask), await causes_line(ask), await deliveries_line(ask))
