"""Brings a database's schema up to date. Whether it is, :mod:`pulse_postgres.schema` tells.

Migrations are plain ``.sql`` files, applied by yoyo as ``pulse_owner``. A migration and the note that it was applied
are committed together, so a killed migrator leaves no half; an advisory lock keeps appliers one after the other.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import psycopg
from psycopg import sql
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.migrations import MigrationList, StepBase, read_migrations

from pulse_core.errors import ConfigError, SchemaError, StoreUnavailable
from pulse_postgres.accounts import OWNER, READERS, ROLES, role_dsn
from pulse_postgres.roles import ensure_roles
from pulse_postgres.schema import TABLE, check_schema, judge, known_ids, migrations_dir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection
    from psycopg.rows import TupleRow

__all__ = ["check_schema", "judge", "known_ids", "migrate", "migrations_dir", "roll_back"]

_LOCK = 0x70756C7365  # "pulse"
_REFUSED = ("authentication failed", "does not exist", "no pg_hba.conf entry")


def migrate(database_url: str, secret_key: str, *, directory: Path | None = None) -> list[str]:
    """Make or repair the login roles, then apply what is missing; return the ids applied. Blocks.

    Safe to run again, and by several at once.

    :param database_url: of an account that may create roles and owns the database (a superuser, or not).
    :param directory: other migrations than our own.
    :raises SchemaError: the database was made by a newer program.
    :raises StoreUnavailable: the database does not answer.
    """
    with _connected(database_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        ensure_roles(connection, secret_key)
        _prepare_database(connection)
        owner_url = role_dsn(database_url, OWNER, secret_key)
        with _Backend(_Address(owner_url), TABLE) as backend:
            return _apply(backend, directory or migrations_dir())


def roll_back(database_url: str, secret_key: str, *, directory: Path | None = None) -> list[str]:
    """Undo every applied migration through its ``.rollback.sql``, newest first: **all data goes**. Return the ids."""
    with _connected(database_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        with _Backend(_Address(role_dsn(database_url, OWNER, secret_key)), TABLE) as backend:
            undone = list(backend.to_rollback(_read(directory or migrations_dir())))
            for migration in undone:
                backend.rollback_one(migration)
            return [migration.id for migration in undone]


def _apply(backend: _Backend, directory: Path) -> list[str]:
    migrations = _read(directory)
    applied = [row[0] for row in _marked(backend)]
    if newer := sorted(set(applied) - {migration.id for migration in migrations}):
        raise SchemaError(f"the database was made by a newer program (it has {', '.join(newer)}): install that version")
    wanted = list(backend.to_apply(migrations))
    for migration in wanted:
        backend.apply_one(migration)
    backend.execute(f"GRANT SELECT ON {TABLE} TO {', '.join(ROLES)}")
    return [migration.id for migration in wanted]


def _marked(backend: _Backend) -> list[tuple[str]]:
    backend.ensure_internal_schema_updated()
    return list(backend.execute(f"SELECT migration_id FROM {TABLE}").fetchall())


def _read(directory: Path) -> MigrationList:
    """Read the migrations, each with a last step that notes it as applied, in the same transaction."""
    migrations = read_migrations(str(directory))
    for migration in migrations:
        migration.load()
        if not any(isinstance(step, _Note) for step in migration.steps):
            migration.steps = [*migration.steps, _Note(migration)]
    return migrations


class _Note(StepBase):  # type: ignore[misc] # yoyo has no types
    """The step that notes a migration as applied, or no longer."""

    def __init__(self, migration: Any) -> None:
        self._migration = migration

    def apply(self, backend: _Backend, force: bool = False) -> None:  # noqa: ARG002 - yoyo's signature
        backend.mark_one(self._migration, log=False)

    def rollback(self, backend: _Backend, force: bool = False) -> None:  # noqa: ARG002 - yoyo's signature
        backend.unmark_one(self._migration, log=False)


class _Address(NamedTuple):
    """What yoyo calls a DatabaseURI. Its own parser knows neither several hosts nor every option."""

    url: str
    database: str = ""


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc] # yoyo has no types
    """yoyo's backend, minus what does not suit a server: its lock row outlives a killed process (we hold an advisory
    lock), and its log asks the DNS for our own name.
    """

    mark_migration_sql = PostgresqlPsycopgBackend.mark_migration_sql + " ON CONFLICT DO NOTHING"

    def connect(self, dburi: _Address) -> Connection[TupleRow]:
        return psycopg.connect(dburi.url, autocommit=True, connect_timeout=30, application_name="pulse migrate")

    @contextlib.contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:  # noqa: ARG002 - yoyo's signature
        yield

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": OWNER,
            "hostname": "",
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


@contextlib.contextmanager
def _connected(database_url: str) -> Iterator[Connection[TupleRow]]:
    try:
        connection = psycopg.connect(
            database_url, autocommit=True, connect_timeout=30, application_name="pulse migrate"
        )
    except psycopg.ProgrammingError as error:
        raise ConfigError(f"database_url: {error}") from error
    except psycopg.OperationalError as error:
        if any(text in str(error) for text in _REFUSED):
            raise ConfigError(f"database_url: {error}") from error
        raise StoreUnavailable(f"the database does not answer: {error}") from error
    with connection:
        yield connection


def _prepare_database(connection: Connection[TupleRow]) -> None:
    """Give the schema ``public`` to pulse_owner, and take from everybody else what nobody needs.

    An account with CREATEROLE that made pulse_owner may not act as it until it says so (PostgreSQL 16 and later).
    """
    row = connection.execute(
        "SELECT current_user, current_database(), pg_get_userbyid(nspowner), rolsuper"
        " FROM pg_namespace, pg_roles WHERE nspname = 'public' AND rolname = current_user"
    ).fetchone()
    if row is None:
        raise SchemaError("the database has no schema 'public': create it")
    me, database, owner, superuser = row
    everybody = sql.SQL(", ").join(map(sql.Identifier, (*ROLES, READERS)))
    try:
        if owner != OWNER:
            _give_away_public(connection, me, is_superuser=superuser)
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), everybody))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the account of database_url must own the database {database}: ALTER DATABASE {database} OWNER TO {me}"
        ) from error


def _give_away_public(connection: Connection[TupleRow], me: str, *, is_superuser: bool) -> None:
    names = {"owner": sql.Identifier(OWNER), "me": sql.Identifier(me)}
    if not is_superuser:
        connection.execute(sql.SQL("GRANT {owner} TO {me}").format(**names))
    connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {owner}").format(**names))
    if not is_superuser:
        connection.execute(sql.SQL("REVOKE {owner} FROM {me}").format(**names))
