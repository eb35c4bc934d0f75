"""Queries: what they ask of the tables of some days. Every value goes beside the SQL, as a parameter."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_influxdb.names import DAY_US, days_of, forgotten_on, readings_of, word
from pulse_influxdb.packed import mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALL_DEVICES = "%all"
"""What stands for all devices of a tenant in a mark; no device's word reads so."""
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - InfluxDB's times have no zone, and are UTC
_LAST_US = 253_402_300_799_999_999


class Part(Struct, frozen=True):
    """A time that one query may look at, in the tables of its days."""

    start_us: int
    end_us: int
    days: list[int]


class Tables:
    """The tables that a database has at this moment."""

    def __init__(self, names: Iterable[str]) -> None:
        names = list(names)
        self.readings = days_of(names, "readings")
        self.forgotten = days_of(names, "forgotten")

    def parts(self, start_us: int, end_us: int, range_h: int) -> list[Part]:
        """The time in parts that are not longer than one query may look at, of days that are there."""
        days = [day for day in self.readings if start_us < (day + 1) * DAY_US and day * DAY_US < end_us]
        at_once = range_h // 24
        if at_once:
            groups = [days[first : first + at_once] for first in range(0, len(days), at_once)]
            bounds = [(group[0] * DAY_US, (group[-1] + 1) * DAY_US, group) for group in groups]
        else:
            piece = range_h * (DAY_US // 24)
            bounds = [
                (since, min(since + piece, (day + 1) * DAY_US), [day])
                for day in days
                for since in range(day * DAY_US, (day + 1) * DAY_US, piece)
            ]
        parts = [Part(max(start_us, since), min(end_us, until), group) for since, until, group in bounds]
        return [part for part in parts if part.start_us < part.end_us]


class Query:
    """One query in the making: the readings of a tenant in a part of a time, and what else must hold of them."""

    def __init__(self, tenant_id: str | None, part: Part, tables: Tables) -> None:
        self.params: dict[str, Any] = {}
        self._part = part
        self._conditions = [
            f"r.time >= {self.param(stamp(part.start_us))}",
            f"r.time < {self.param(stamp(part.end_us))}",
        ]
        if tenant_id is not None:
            self._conditions.append(f"r.tenant_id = {self.param(word(tenant_id))}")
        if tables.forgotten:
            marks = " UNION ALL ".join(
                f'SELECT tenant_id, device_id, until_us FROM "{forgotten_on(day)}"' for day in tables.forgotten
            )
            for whose in ("f.device_id = r.device_id", f"f.device_id = {self.param(ALL_DEVICES)}"):
                self._conditions.append(
                    f"NOT EXISTS (SELECT 1 FROM ({marks}) AS f WHERE f.tenant_id = r.tenant_id AND {whose}"
                    " AND f.until_us >= r.written_us)"
                )

    def param(self, value: str | int) -> str:
        """What stands for a value in the SQL."""
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f"${name}"

    def among(self, column: str, values: Sequence[str] | None) -> None:
        """Only those whose column is one of some values; None is any."""
        if values is not None:
            listed = ", ".join(self.param(value) for value in values)
            self.where(f"r.{column} IN ({listed})" if values else "FALSE")

    def having(self, metrics: Sequence[str] | None) -> None:
        """Only those that have one of some metrics; None is any."""
        if metrics is not None:
            # A literal, for InfluxDB knows parameters in comparisons alone. It holds no quote: see mark().
            there = " OR ".join(f"strpos(r.shape, '{mark(name)}') > 0" for name in metrics)
            self.where(f"({there})" if metrics else "FALSE")

    def where(self, condition: str) -> None:
        """A condition more."""
        self._conditions.append(condition)

    def rows(self, columns: str) -> str:
        """The SQL for these columns of all tables."""
        where = " AND ".join(self._conditions)
        return " UNION ALL ".join(
            f'SELECT {columns} FROM "{readings_of(day)}" AS r WHERE {where}' for day in self._part.days
        )


def number(metric: str) -> str:
    """The SQL for what a metric was as a number; NULL when it was none.

    The name stands in it as a literal, for InfluxDB knows parameters in comparisons alone; it holds no quote.
    """
    return f"TRY_CAST(split_part(split_part(r.metrics, '{mark(metric)}', 2), ';', 1) AS DOUBLE)"


def stamp(time_us: int) -> str:
    """A time as SQL compares it with a column's."""
    return (_EPOCH + dt.timedelta(microseconds=max(0, min(time_us, _LAST_US)))).isoformat(timespec="microseconds")
