"""Lists in pages: filters that become SQL, and cursors that say where the next page begins."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import PermanentFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncpg import Record

MAX_LIMIT = 200
_PART = frozenset({"sort", "limit", "cursor"})


class Page(Struct, frozen=True):
    """Part of a list: ``{"items": […], "next": cursor | null}``.

    Items are plain dicts with aware UTC datetimes and UUIDs in them, which msgspec turns into JSON as CONTRACTS wants.
    """

    items: list[dict[str, Any]]
    next: str | None = None


class Where:
    """Conditions of a query and their parameters. Only constants become SQL; values are always parameters."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments: list[Any] = list(arguments)
        self._conditions: list[str] = []

    def add(self, condition: str, *values: Any) -> None:
        """Demand ``condition``, in which each ``{}`` stands for one of ``values``."""
        self._conditions.append(condition.format(*[self.put(value) for value in values]))

    def add_given(self, condition: str, value: Any) -> None:
        """As :meth:`add`, unless ``value`` is None."""
        if value is not None:
            self.add(condition, value)

    def outer(self) -> Where:
        """Conditions of another part of the same query: they share the parameters."""
        where = Where()
        where.arguments = self.arguments
        return where

    def put(self, value: Any) -> str:
        """Take a parameter; return its name in SQL."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def __str__(self) -> str:
        return " AND ".join(self._conditions) or "true"


def item_of(row: Record) -> dict[str, Any]:
    """Make an item of a row, without the ``position`` that its cursor is made of."""
    item = dict(row)
    item.pop("position", None)
    return item


def parted(asked: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was asked of a list: which part, in which order (``sort``, ``limit``, ``cursor``), and of which rows."""
    part = {name: value for name, value in asked.items() if name in _PART}
    return part, {name: value for name, value in asked.items() if name not in _PART}


def within(limit: int, at_most: int = MAX_LIMIT) -> int:
    """A page's size: at least 1, at most 200."""
    return max(1, min(limit, at_most))


def write_cursor(*position: Any) -> str:
    """Where a page ended, as text that is safe in a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def read_cursor(cursor: str | None, kind: Any) -> Any:
    """Where the page begins, as a ``kind``, which is a type of tuples; None for the first page.

    :raises PermanentFailure: this is no cursor of ours.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PermanentFailure("this cursor is not one that a list gave you") from error
