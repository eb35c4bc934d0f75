"""SQL over what the stand-in for InfluxDB keeps: DataFusion, which InfluxDB 3 itself is built on.

Not there: the functions InfluxDB adds to DataFusion (``selector_first``, ``date_bin_gapfill``, ``locf`` …), InfluxQL,
and the ``system`` tables. Unquoted names are lower-cased, as in InfluxDB.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pyarrow as pa
from datafusion import SessionConfig, SessionContext, SQLOptions

from support.influx_files import refuse_many_files
from support.influx_tables import InfluxError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datafusion import DataFrame

    from support.influx_tables import Database, Store, Table

READING = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)


class Reader:
    """Answers queries; a query sees a database as it was when it began."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.query_file_limit: int | None = None
        """How many files one query may need (see influx_files); InfluxDB 3 Core allows 432. None allows any number."""
        self._contexts: WeakKeyDictionary[Database, tuple[int, SessionContext]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def query(self, database: str, sql: str, params: Mapping[str, Any]) -> pa.Table:
        """What a query finds, with ``$name`` in it standing for a value of ``params``."""
        context, tables = self._context(database)
        try:
            frame = context.sql(
                sql, options=READING, param_values={name: _scalar(each) for name, each in params.items()}
            )
            self._check(frame, tables)
            return _plain(frame.to_arrow_table())
        except InfluxError:
            raise
        except Exception as error:  # DataFusion raises this very class
            raise InfluxError(400, f"error while planning query: {error}") from error

    def _context(self, name: str) -> tuple[SessionContext, Mapping[str, Table]]:
        with self._lock, self.store.lock:
            database = self.store.database(name)
            version, context = self._contexts.get(database, (-1, None))
            if context is None or version != database.version:
                context = _context(database)
                self._contexts[database] = (database.version, context)
            return context, dict(database.tables)

    def _check(self, frame: DataFrame, tables: Mapping[str, Table]) -> None:
        if self.query_file_limit is not None:
            with self.store.lock:
                refuse_many_files(frame.optimized_logical_plan(), tables, self.query_file_limit)


def _context(database: Database) -> SessionContext:
    """The tables, where InfluxDB shows them: ``public.iox``."""
    config = SessionConfig().with_information_schema(True).with_target_partitions(1)
    config = config.with_default_catalog_and_schema("public", "iox").with_create_default_catalog_and_schema(True)
    context = SessionContext(config)
    for name, table in database.tables.items():
        quoted = name.replace('"', '""')
        context.register_record_batches(f'"{quoted}"', [[table.batch()]])
    return context


def _scalar(value: Any) -> pa.Scalar:
    """A parameter as InfluxDB reads it from JSON: a whole number is signed if it can be."""
    if isinstance(value, int) and not isinstance(value, bool):
        return pa.scalar(value, pa.uint64() if value >= 2**63 else pa.int64())
    if value is None or isinstance(value, str | float | bool):
        return pa.scalar(value)
    raise InfluxError(400, f"invalid value of a parameter: {value!r}")


def _plain(table: pa.Table) -> pa.Table:
    """With text for dictionaries, as InfluxDB sends it."""
    plain = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(plain))
