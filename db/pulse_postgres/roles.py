"""How the login roles are made and repaired. Who they are stands in :mod:`pulse_postgres.accounts`.

Roles belong to the whole server: one PostgreSQL server carries one installation.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pulse_core.errors import ConfigError
from pulse_postgres.accounts import OWNER, READERS, ROLES, role_dsn, role_password, with_account

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

__all__ = ["OWNER", "ROLES", "ensure_roles", "role_dsn", "role_password", "scram_verifier", "with_account"]

_FORBIDDEN = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
_REPAIR = {
    "rolsuper": "NOSUPERUSER",
    "rolbypassrls": "NOBYPASSRLS",
    "rolcreaterole": "NOCREATEROLE",
    "rolcreatedb": "NOCREATEDB",
    "rolreplication": "NOREPLICATION",
}
_CONTENDED = ("tuple concurrently updated", "tuple concurrently deleted")
_ATTEMPTS = 20


def ensure_roles(connection: Connection[TupleRow], secret_key: str) -> None:
    """Make the roles that are missing, and give each its password and its harmless attributes again.

    :param connection: in autocommit, of an account that may create roles (superuser, or CREATEROLE).
    :raises ConfigError: a role has a power that it must not have and that this account cannot take away.
    """
    found = {
        row[0]: [name for name, has in zip(_FORBIDDEN, row[1:], strict=True) if has]
        for row in connection.execute(
            sql.SQL("SELECT rolname, {} FROM pg_roles WHERE rolname = ANY(%s)").format(
                sql.SQL(", ").join(map(sql.Identifier, _FORBIDDEN))
            ),
            ([*ROLES, READERS],),
        )
    }
    for role in (*ROLES, READERS):
        if role not in found:
            _create(connection, role)
        _repair(connection, role, found.get(role, []), secret_key)


def _create(connection: Connection[TupleRow], role: str) -> None:
    try:
        _patiently(connection, sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return  # another installer was faster
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the account of database_url may not create the role {role}: give it CREATEROLE, "
            "or have an administrator run `pulse migrate` once"
        ) from error


def _repair(connection: Connection[TupleRow], role: str, powers: list[str], secret_key: str) -> None:
    login: sql.Composable = sql.SQL("NOLOGIN PASSWORD NULL")
    if role != READERS:
        verifier = scram_verifier(connection, role, role_password(role, secret_key))
        login = sql.SQL("LOGIN PASSWORD {}").format(sql.Literal(verifier))
    words = sql.SQL(" ".join(_REPAIR[power] for power in powers))
    try:
        _patiently(connection, sql.SQL("ALTER ROLE {} WITH {} {}").format(sql.Identifier(role), login, words))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the account of database_url may not alter the role {role}"
            + (f", which must not be {', '.join(powers)}" if powers else "")
            + ": connect as the account that made it, or as a superuser"
        ) from error


def scram_verifier(connection: Connection[TupleRow], role: str, password: str) -> str:
    """What the server keeps of a password, so that the password itself is in no statement and in no log."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _patiently(connection: Connection[TupleRow], statement: sql.Composed) -> None:
    """Run a statement on a shared catalogue; two installers at the same row make one of them fail for no reason."""
    for attempt in range(_ATTEMPTS):
        try:
            connection.execute(statement)
        except psycopg.errors.InternalError_ as error:
            if attempt == _ATTEMPTS - 1 or not any(text in str(error) for text in _CONTENDED):
                raise
            time.sleep(0.01 * (attempt + 1))
        else:
            return
