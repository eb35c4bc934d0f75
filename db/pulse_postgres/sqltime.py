"""Times on their way in and out of SQL: records hold integer microseconds, tables hold timestamptz.

Integers are the cheapest thing that asyncpg can carry (measured: half of what datetimes cost), and these expressions
convert them exactly up to the year 2255 (2**53 microseconds); ``to_timestamp(x / 1e6)`` would round.
"""

from __future__ import annotations

import datetime as dt

DAY_US = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def moment(at_us: int) -> dt.datetime:
    """Microseconds since the epoch as a time, exactly: for statements in which the planner must know it."""
    return _EPOCH + dt.timedelta(microseconds=at_us)


def at(expression: str) -> str:
    """SQL for the timestamptz of ``expression``, which is a bigint of microseconds since the epoch, or NULL."""
    return f"(timestamptz 'epoch' + {expression} * interval '1 microsecond')"


def us(expression: str) -> str:
    """SQL for the microseconds since the epoch (bigint) of ``expression``, which is a timestamptz, or NULL."""
    return f"(extract(epoch FROM {expression}) * 1000000)::bigint"
