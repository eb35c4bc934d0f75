"""A real PostgreSQL for tests: one embedded server a session, one freshly migrated database a test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import psycopg

from pulse_postgres.migrate import migrate
from pulse_postgres.roles import role_dsn
from pulse_server.embedded.launcher import EmbeddedPostgres

SECRET_KEY = "a secret key of the tests, 32 characters and more"
_TEMPLATE = "pulse_template"
# A server that is killed loses nothing by that, only a machine would: and what becomes of one is tried elsewhere. A
# database costs a twentieth of the time so.
_SETTINGS = {"max_connections": "300", "fsync": "off", "full_page_writes": "off"}
_ROOM_BYTES = 8_000_000_000


def _in_memory() -> Path | None:
    """Where files never see a disk, if there is such a place and it has room; None: where all other files are."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES else None


class Database:
    """One migrated database of the session's server.

    ``url`` is the superuser's, over the unix socket; :meth:`dsn` gives a login role's.
    """

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url_of(name)
        self.secret_key = SECRET_KEY

    def dsn(self, role: str) -> str:
        """The address of a login role."""
        return role_dsn(self.url, role, self.secret_key)

    def superuser(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection in autocommit that sees everything: for arranging and judging, never for acting."""
        return psycopg.connect(self.url, autocommit=True)

    def drop(self) -> None:
        """End its connections and remove it."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')


class PostgresServer:
    """The session's server. :meth:`fresh` clones a database that was migrated once."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pulse-test-", dir=_in_memory()))
        self._server = EmbeddedPostgres(self._folder / "postgres", settings=_SETTINGS)
        self._numbers = itertools.count(1)
        self._has_template = False
        self.url = self._server.start()

    def url_of(self, name: str) -> str:
        """The superuser's address of another database."""
        return self.url.replace("/pulse?", f"/{name}?", 1)

    def empty(self) -> Database:
        """A new database without any schema."""
        return self._create("template0")

    def fresh(self) -> Database:
        """A new, migrated database."""
        if not self._has_template:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)")
                connection.execute(f"CREATE DATABASE {_TEMPLATE}")
            migrate(self.url_of(_TEMPLATE), SECRET_KEY)
            self._has_template = True
        return self._create(_TEMPLATE)

    def stop(self) -> None:
        """End the server and remove its files."""
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _create(self, template: str) -> Database:
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return Database(self, name)
