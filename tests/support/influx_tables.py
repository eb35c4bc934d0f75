"""What the stand-in for InfluxDB keeps: databases of tables of points, each point once by its tags and its time."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec import Struct

from support.influx_lines import Kind, Line, RefusedLineError, Value, parse, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INTERNAL = "_internal"
LONGEST_DATABASE_NAME = 64
ARROW: dict[Kind, pa.DataType] = {
    "tag": pa.dictionary(pa.int32(), pa.utf8()),
    "float": pa.float64(),
    "integer": pa.int64(),
    "uinteger": pa.uint64(),
    "string": pa.utf8(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("ns"),
}

PointKey = tuple[int, frozenset[tuple[str, str]]]


class InfluxError(Exception):
    """What a request is answered with in place of what it asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class LineError(Struct, frozen=True):
    """One line that was not taken, as an answer names it."""

    original_line: str
    line_number: int
    error_message: str


class Limits(Struct, frozen=True):
    """What InfluxDB 3 Core allows (docs: "Database, table, and column limits")."""

    databases: int = 5
    tables: int = 2000
    columns: int = 500
    tag_columns: int = 250


class Table:
    """Columns that keep their type for ever, and points."""

    def __init__(self, columns: Mapping[str, Kind] | None = None) -> None:
        self.columns: dict[str, Kind] = {**(columns or {}), "time": "timestamp"}
        self.points: dict[PointKey, dict[str, Value]] = {}
        self._batch: pa.RecordBatch | None = None

    def put(self, line: Line, time_ns: int) -> None:
        """Add a point; one with the same tags and time is written over, field by field."""
        key = (time_ns, frozenset(line.tags.items()))
        fields = {name: value for name, (_, value) in line.fields.items()}
        self.points.setdefault(key, {**line.tags}).update(fields)
        self._batch = None

    def batch(self) -> pa.RecordBatch:
        """The points, by time."""
        if self._batch is None:
            self._batch = self._built()
        return self._batch

    def _built(self) -> pa.RecordBatch:
        points = sorted(self.points.items(), key=lambda each: each[0][0])
        arrays, schema = [], []
        for name, kind in self.columns.items():
            plain = pa.utf8() if kind == "tag" else ARROW[kind]
            values = [key[0] if name == "time" else point.get(name) for key, point in points]
            array = pa.array(values, plain)
            arrays.append(array.dictionary_encode() if kind == "tag" else array)
            schema.append(pa.field(name, ARROW[kind], nullable=name != "time"))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(schema))


class Database:
    """Tables by name; ``version`` moves with every change."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.version = 0


class Taken(Struct, frozen=True):
    """What became of a write."""

    points: int
    refused: tuple[LineError, ...] = ()


class Store:
    """Every database; safe to use from any thread, and held in memory for as long as the stand-in is."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.lock = threading.RLock()
        self.databases: dict[str, Database] = {INTERNAL: Database()}

    def names(self) -> list[str]:
        """The databases, with InfluxDB's own."""
        with self.lock:
            return sorted(self.databases)

    def database(self, name: str) -> Database:
        """One that exists."""
        try:
            return self.databases[name]
        except KeyError:
            raise InfluxError(404, f"database not found: {name}") from None

    def create(self, name: str) -> Database:
        """A new one."""
        check_name(name)
        with self.lock:
            if name in self.databases:
                raise InfluxError(409, "attempted to create a resource that already exists")
            return self._add(name)

    def delete(self, name: str) -> None:
        """Forget one, whole."""
        with self.lock:
            if name not in self.databases:
                raise InfluxError(404, f"the requested resource was not found: {name}")
            if name == INTERNAL:
                raise InfluxError(500, "cannot delete internal db")
            del self.databases[name]

    def create_table(self, name: str, table: str, columns: Mapping[str, Kind]) -> None:
        """A table before its first point."""
        with self.lock:
            database = self.database(name)
            if table in database.tables:
                raise InfluxError(409, "attempted to create a resource that already exists")
            try:
                self._check(table, database.tables.keys(), {"time": "timestamp"}, columns)
            except RefusedLineError as refusal:
                raise InfluxError(422, str(refusal)) from None
            database.tables[table] = Table(columns)
            database.version += 1

    def delete_table(self, name: str, table: str) -> None:
        """Forget a table, whole."""
        with self.lock:
            database = self.database(name)
            if database.tables.pop(table, None) is None:
                raise InfluxError(404, f"the requested resource was not found: {table}")
            database.version += 1

    def write(self, name: str, text: str, unit: str, accept_partial: bool) -> Taken:
        """Take lines, into a new database if there is none of the name.

        Without ``accept_partial`` the first line that is refused is the only one told, and nothing is taken.
        """
        check_name(name)
        now_ns = time.time_ns()
        with self.lock:
            database = self.databases.get(name) or self._add(name)
            columns = {table: dict(each.columns) for table, each in database.tables.items()}
            taken: list[tuple[Line, int]] = []
            refused: list[LineError] = []
            for number, original in enumerate(written(text), 1):
                try:
                    line = parse(original)
                    time_ns = now_ns if line.timestamp is None else nanoseconds(line.timestamp, unit)
                    self._fit(line, columns)
                except RefusedLineError as refusal:
                    refused.append(LineError(original, number, str(refusal)))
                    if not accept_partial:
                        return Taken(0, tuple(refused))
                else:
                    taken.append((line, time_ns))
            if not taken and not refused:
                raise InfluxError(400, "no lines of line protocol were provided")
            self._put(database, taken, columns)
        return Taken(len(taken), tuple(refused))

    def _put(self, database: Database, taken: Iterable[tuple[Line, int]], columns: dict[str, dict[str, Kind]]) -> None:
        for line, time_ns in taken:
            table = database.tables.setdefault(line.measurement, Table())
            table.columns = columns[line.measurement]
            table.put(line, time_ns)
        database.version += 1

    def _add(self, name: str) -> Database:
        if len(self.databases) > self.limits.databases:  # one of them is InfluxDB's own
            raise InfluxError(422, f"Adding a new database would exceed limit of {self.limits.databases} databases")
        return self.databases.setdefault(name, Database())

    def _fit(self, line: Line, columns: dict[str, dict[str, Kind]]) -> None:
        """Find a column for everything a line says, or refuse it whole; ``columns`` by table are added to."""
        known = columns.get(line.measurement, {"time": "timestamp"})
        wanted: list[tuple[str, Kind]] = [(name, "tag") for name in line.tags]
        wanted += [(name, kind) for name, (kind, _) in line.fields.items()]
        added: dict[str, Kind] = {}
        for name, kind in wanted:
            if "\0" in name:
                raise RefusedLineError(
                    "the stand-in holds no NUL in a name: what is between it and DataFusion ends there"
                )
            there = known.get(name) or added.setdefault(name, kind)
            if there != kind:
                raise RefusedLineError(
                    f"invalid column type for column '{name}', expected {_shown(there)}, got {_shown(kind)}"
                )
        if added or line.measurement not in columns:
            self._check(line.measurement, columns.keys(), known, added)
            columns[line.measurement] = {**known, **added}

    def _check(self, table: str, tables: Iterable[str], known: Mapping[str, Kind], added: Mapping[str, Kind]) -> None:
        """Refuse what would be a table or a column too many."""
        every = [*known.values(), *added.values()]
        counts: list[tuple[str, int, int]] = [
            ("tables", len({*tables, table}), self.limits.tables),
            ("columns per table", len(every), self.limits.columns),
            ("tag columns per table", every.count("tag"), self.limits.tag_columns),
        ]
        for what, count, limit in counts:
            if count > limit:
                unit = "tables" if what == "tables" else "columns"
                raise RefusedLineError(f"Update to schema would exceed number of {what} limit of {limit} {unit}")


def check_name(name: str) -> None:
    """Refuse what InfluxDB refuses as a database's name: 64 ASCII letters, digits, `_` and `-`, no sign first."""
    if not name:
        raise InfluxError(400, "db name cannot be empty")
    if len(name.encode()) > LONGEST_DATABASE_NAME:
        raise InfluxError(400, f"db name cannot be longer than {LONGEST_DATABASE_NAME} characters")
    if not re.match(r"[0-9A-Za-z]", name):
        raise InfluxError(400, "db name did not start with a number or letter")
    if not re.fullmatch(r"[-_0-9A-Za-z]+(/[-_0-9A-Za-z]+)?", name):
        raise InfluxError(400, "invalid character in database name: must be ASCII letters, numbers, `_` or `-`")


def nanoseconds(stamp: int, unit: str) -> int:
    """A timestamp in the unit of its request, in nanoseconds; ``auto`` guesses as InfluxDB does."""
    if unit == "auto":
        size = abs(stamp) // 1_000_000_000
        unit = next((name for name, bound in (("s", 5), ("ms", 5_000), ("us", 5_000_000)) if size < bound), "ns")
    time_ns = stamp * {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}[unit]
    if not -(2**63) <= time_ns < 2**63:
        raise RefusedLineError(f"timestamp, {stamp}, out of range for precision: {unit}")
    return time_ns


def _shown(kind: Kind) -> str:
    return f"iox::column_type::{kind}" if kind in {"tag", "timestamp"} else f"iox::column_type::field::{kind}"
