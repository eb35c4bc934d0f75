"""Writing a backup while everything works on: one snapshot of the database, so that the books in it balance."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from pulse_core.errors import ConfigError, SchemaError, StoreUnavailable
from pulse_postgres.schema import TABLE
from pulse_server.backup import programs
from pulse_server.backup.archive import DATABASE, KEY, MANIFEST, draft
from pulse_server.backup.manifest import FORMAT, KIND, Manifest, product_version
from pulse_server.secret_key import key_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_SIZES = """
    SELECT n.nspname || '.' || c.relname, pg_table_size(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE c.relkind = 'r' AND n.nspname = 'public'
"""
_APPLIED = sql.SQL("SELECT migration_id FROM public.{} ORDER BY 1").format(sql.Identifier(TABLE))


def save(
    url: str,
    target: Path,
    *,
    keys: Sequence[str],
    with_key: bool,
    readings: bool,
    force: bool,
    told: Callable[[int, int], None],
) -> Manifest:
    """Write everything in the database into ``target``. Blocks; what runs works on.

    What was committed before this was called is in it.

    :param url: of an account that row-level security does not bind: a superuser, or one with BYPASSRLS.
    :param keys: in force; only their names go in, unless ``with_key``.
    :param readings: whether the database keeps the readings.
    :param told: hears how far it is: bytes of tables that were begun, of all.
    :raises Conflict: there is a file already, and no ``force``.
    :raises SchemaError: the database is empty.
    """
    with draft(target, force=force) as made, _snapshot(url) as (connection, snapshot):
        taken_at = _one(connection, "SELECT now()")
        schema = _schema(connection)
        progress = _Progress(dict(connection.execute(_SIZES).fetchall()), told)
        size, digest = made.add(DATABASE, programs.dumped(url, snapshot, progress.began))
        if with_key:
            made.add(KEY, ["".join(f"{key}\n" for key in keys).encode()])
        manifest = Manifest(
            format=FORMAT,
            kind=KIND,
            version=product_version(),
            postgres=programs.server_version(connection),
            taken_at=taken_at,
            schema=schema,
            key_ids=[key_id(key) for key in keys],
            has_key=with_key,
            readings=readings,
            database_bytes=size,
            database_sha256=digest,
        )
        made.add(MANIFEST, [manifest.encoded()])
        progress.finish()
    return manifest


@contextmanager
def _snapshot(url: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A transaction and the name of what it sees: pg_dump then sees the same."""
    try:
        connection = psycopg.connect(url, connect_timeout=30, application_name="pulse backup")
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database does not answer: {error}") from error
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        _demand_all_rows(connection)
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection, str(_one(connection, "SELECT pg_export_snapshot()"))


def _demand_all_rows(connection: psycopg.Connection[Any]) -> None:
    if not _one(connection, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"):
        raise ConfigError(
            "row-level security hides rows from the account of database_url, and a backup without them is none: "
            "back up as a superuser, or as an account with BYPASSRLS that may read everything"
        )


def _schema(connection: psycopg.Connection[Any]) -> list[str]:
    if _one(connection, f"SELECT to_regclass('public.{TABLE}')") is None:
        raise SchemaError("the database is empty: there is nothing to back up")
    return [row[0] for row in connection.execute(_APPLIED)]


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


class _Progress:
    """How far pg_dump is, by the sizes of the tables that it came to."""

    def __init__(self, sizes: dict[str, int], told: Callable[[int, int], None]) -> None:
        self._sizes, self._told = sizes, told
        self._total = max(sum(sizes.values()), 1)
        self._before = self._current = 0
        told(0, self._total)

    def began(self, table: str) -> None:
        """A table begins; the one before is done."""
        self._before, self._current = self._before + self._current, self._sizes.get(table, 0)
        self._told(min(self._before, self._total), self._total)

    def finish(self) -> None:
        """All of it."""
        self._told(self._total, self._total)
