"""In which order a list comes, and where its next page begins: one mechanism for every list.

A list declares by what it can be sorted (:class:`Orders`). A request names one of those, with ``-`` before it for
descending. Where that leaves rows equal, the list's key decides, so that every order is total and pages neither miss a
row nor repeat one. Rows without a value come last, whichever way. A cursor holds the order that it was made in and the
last row's place there; in another order it is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.errors import PermanentFailure
from pulse_postgres.paging import MAX_LIMIT, Page, Where, read_cursor, within, write_cursor
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncpg import Record

_SQL = {str: "text", int: "bigint", float: "float8", bool: "boolean", uuid.UUID: "uuid", datetime: "timestamptz"}


class By(Struct, frozen=True):
    """Something that rows can be ordered by.

    ``sql`` is an expression over the row, empty for the list's key alone; ``kind`` what it is in Python; ``nullable``:
    it may be NULL. ``backward``: an index holds it greatest first and the key ascending, so ascending is that index
    read backward.
    """

    sql: str
    kind: type = str
    nullable: bool = False
    backward: bool = False


KEY = By("")
"""By the key alone."""


class Orders(Struct, frozen=True):
    """By what a list can be sorted, by the names that callers use.

    :param key: names of the columns that together tell every row from every other, and what each is: the tenant first.
        Where something else is sorted by, ties go by the key from its end, as indexes that lead with the tenant do.
    """

    by: Mapping[str, By]
    key: Mapping[str, By]
    default: str

    @property
    def names(self) -> tuple[str, ...]:
        """Every value that ``sort`` may have, the default first."""
        both = [name for each in self.by for name in (each, f"-{each}")]
        return (self.default, *(name for name in both if name != self.default))


class Sorted:
    """One request's order and page.

    :param sort: one of :attr:`Orders.names`; None: the default.
    :raises PermanentFailure: there is no such order, or the cursor is none, or of another order.
    """

    def __init__(
        self, orders: Orders, sort: str | None, limit: int, cursor: str | None, *, at_most: int = MAX_LIMIT
    ) -> None:
        self.sort = orders.default if sort is None else sort
        if self.sort not in orders.names:
            raise PermanentFailure(f"sort by one of {', '.join(orders.names)}")
        self.limit = within(limit, at_most)
        self._by = orders.by[self.sort.removeprefix("-")]
        key = list(orders.key.items())
        self._key = dict(key if self._by is KEY else reversed(key))
        self._down = self.sort.startswith("-")
        self._key_down = self._down != self._by.backward
        self._after = self._read(cursor)

    @property
    def position(self) -> str:
        """To select: the value that decides, as ``position``."""
        if self._by is KEY:
            return "NULL AS position"
        return f"{us(self._by.sql) if self._by.kind is datetime else self._by.sql} AS position"

    @property
    def order(self) -> str:
        """ORDER BY, over the rows themselves."""
        return self._order_by(self._by.sql, [each.sql for each in self._key.values()])

    def outer_order(self, alias: str) -> str:
        """ORDER BY, over the rows of a subquery that selected ``position`` and the key."""
        return self._order_by(f"{alias}.position", [f"{alias}.{name}" for name in self._key])

    def begin(self, where: Where) -> None:
        """Demand of the rows that they come after the cursor."""
        if self._after is None:
            return
        last, *key = self._after
        columns = [each.sql for each in self._key.values()]
        values = [_typed(where, value, each.kind) for value, each in zip(key, self._key.values(), strict=True)]
        if self._by is KEY:
            where.add(self._beyond(columns, values))
        elif last is None:
            where.add(f"{self._by.sql} IS NULL AND {self._beyond(columns, values)}")
        else:
            self._begin(where, _typed(where, last, self._by.kind), columns, values)

    def page(self, rows: Sequence[Record], item: Callable[[Record], dict[str, Any]]) -> Page:
        """Make a page of rows that were asked for with ``limit + 1``: one too many says that there is more."""
        kept = rows[: self.limit]
        cursor = None
        if len(rows) > self.limit:
            cursor = write_cursor(self.sort, kept[-1]["position"], *(kept[-1][name] for name in self._key))
        return Page([item(row) for row in kept], cursor)

    def _begin(self, where: Where, last: str, columns: list[str], values: list[str]) -> None:
        column, further = self._by.sql, "<" if self._down else ">"
        if self._by.nullable:
            beyond = self._beyond(columns, values)
            where.add(f"({column} {further} {last} OR {column} = {last} AND {beyond} OR {column} IS NULL)")
        elif self._by.backward:
            where.add(f"{column} {further}= {last}")  # for the index; the next line says it exactly
            where.add(f"({column} {further} {last} OR {self._beyond(columns, values)})")
        else:
            where.add(self._beyond([column, *columns], [last, *values]))

    def _beyond(self, columns: list[str], values: list[str]) -> str:
        return f"({', '.join(columns)}) {'<' if self._key_down else '>'} ({', '.join(values)})"

    def _order_by(self, column: str, key: list[str]) -> str:
        key_way = "DESC" if self._key_down else "ASC"
        parts = [f"{each} {key_way}" for each in key]
        if self._by is not KEY:
            nulls = " NULLS LAST" if self._by.nullable else ""
            parts.insert(0, f"{column} {'DESC' if self._down else 'ASC'}{nulls}")
        return ", ".join(parts)

    def _read(self, cursor: str | None) -> Any:
        key = [each.kind for each in self._key.values()]
        found = read_cursor(cursor, tuple[(str, _decided(self._by), *key)])  # type: ignore[misc] # made of values
        if found is None:
            return None
        sort, *position = found
        if sort != self.sort:
            raise PermanentFailure(f"this cursor belongs to a list in another order: {sort!r}")
        return position


def _typed(where: Where, value: Any, kind: type) -> str:
    """SQL for a value of a cursor."""
    name = where.put(value)
    return at(f"{name}::bigint") if kind is datetime else f"{name}::{_SQL[kind]}"


def _decided(by: By) -> Any:
    """What stands in a cursor for the value that decided."""
    if by is KEY:
        return None
    kind: Any = int if by.kind is datetime else by.kind
    return kind | None if by.nullable else kind
