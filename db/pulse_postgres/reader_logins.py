"""The PostgreSQL logins of readers: made, and dropped when nobody's any more. Over the administrator's connection.

A login reads what :data:`~pulse_postgres.accounts.READERS` may, of the tenant that the table ``readers`` names for it.
It may change its own settings, so that its limits are manners; what it may read is not a setting.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pulse_core.errors import ConfigError
from pulse_postgres.accounts import READERS, role_dsn
from pulse_postgres.roles import scram_verifier

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 5
"""How many connections a login may have at once; the limit that it cannot change."""
_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "3s",
    "work_mem": "8MB",
    "jit": "off",
    "timezone": "UTC",
}
_OURS = """
    SELECT r.rolname FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
    WHERE m.roleid = %s::regrole AND shobj_description(r.oid, 'pg_authid') = %s
"""
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"


def make_login(database_url: str, login: str, password: str) -> None:
    """Make a login, or give an existing one this password and its settings again. Blocks.

    :raises ConfigError: the account of ``database_url`` may not do that.
    """
    with _administering(database_url) as connection:
        who = sql.Identifier(login)
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).rowcount == 0:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(who))
        verifier = sql.Literal(scram_verifier(connection, login, password))
        words = sql.SQL("LOGIN INHERIT NOCREATEROLE NOCREATEDB CONNECTION LIMIT {} PASSWORD {}")
        limits = words.format(sql.Literal(CONNECTIONS), verifier)
        connection.execute(sql.SQL("ALTER ROLE {} WITH {}").format(who, limits))
        group = sql.Identifier(READERS)
        connection.execute(sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(group, who))
        for name, value in _SETTINGS.items():
            setting = sql.SQL("ALTER ROLE {} SET {} = {}").format(who, sql.Identifier(name), sql.Literal(value))
            connection.execute(setting)
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(who, sql.Literal(_mark(connection))))


def address(database_url: str) -> dict[str, str]:
    """Where a login connects to, as a form asks for it: over TCP, also where we ourselves use a unix socket."""
    found = conninfo_to_dict(database_url)
    host = str(found.get("host") or "")
    return {
        "host": "127.0.0.1" if not host or host.startswith("/") else host,
        "port": str(found.get("port") or 5432),
        "database": str(found.get("dbname") or ""),
    }


def existing_logins(database_url: str) -> set[str]:
    """The logins of this database's readers, whether or not anybody is still to have them."""
    with _administering(database_url) as connection:
        return _existing(connection)


def sweep(database_url: str, *secret_keys: str) -> list[str]:
    """Drop the logins of this database whose reader is gone, and end their connections; return them. Blocks.

    Whoever removes a tenant over the web has no right to do this: until it is done such a login reads nothing.
    """
    with _administering(database_url) as connection:
        left = _existing(connection) - _wanted(role_dsn(database_url, "pulse_admin", *secret_keys))
        for login in sorted(left):
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(_END, (login,))
            _drop(connection, login)
    return sorted(left)


def _drop(connection: psycopg.Connection[Any], login: str) -> None:
    """Drop a login; one to which an administrator granted more by hand cannot be dropped, and is locked instead."""
    try:
        with connection.transaction():
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))
    except psycopg.errors.DependentObjectsStillExist:
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(login)))


def _existing(connection: psycopg.Connection[Any]) -> set[str]:
    return {row[0] for row in connection.execute(_OURS, (READERS, _mark(connection)))}


def _wanted(dsn: str) -> set[str]:
    """What the table says, over the first address that lets us in."""
    *first, last = dsn.splitlines()
    for each in first:
        with suppress(psycopg.OperationalError):
            return _wanted(each)
    with psycopg.connect(last, connect_timeout=30) as connection:
        return {row[0] for row in connection.execute("SELECT login FROM readers")}


def _mark(connection: psycopg.Connection[Any]) -> str:
    """How a login says which database it is for: logins belong to the whole server."""
    return f"Pulse: a reader of {connection.info.dbname}"


@contextmanager
def _administering(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """One transaction of the administrator's: a login is made with all that binds it, or not at all."""
    try:
        with psycopg.connect(database_url, connect_timeout=30, application_name="pulse readers") as connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the account of database_url may not do this: {str(error).splitlines()[0]}; it needs CREATEROLE"
        ) from error
