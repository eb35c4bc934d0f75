"""The login roles: who they are, their passwords, their addresses, and how they are made and repaired.

None is a superuser, none bypasses row-level security, and nobody ever does SET ROLE. A role's password is derived from
the one secret that the operator keeps, so that nothing else needs storing. Roles belong to the whole server: one
PostgreSQL server carries one installation.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

OWNER = "pulse_owner"
ROLES: tuple[str, ...] = (
    OWNER,  # migrations: owns every table
    "pulse_web",  # customers: one tenant at a time, or nothing
    "pulse_auth",  # logins and activation, before a tenant is known
    "pulse_operator",  # reads across tenants, writes the audit log
    "pulse_admin",  # settings, tenants, provisioning
    "pulse_pipeline",  # readings, state, alerts, the outbox
    "pulse_deliver",  # deliveries and their attempts
)

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


def role_password(role: str, secret_key: str) -> str:
    """Derive a role's password: HMAC-SHA256 of ``role:<role>`` under the secret key, in hex."""
    return hmac.new(secret_key.encode(), f"role:{role}".encode(), hashlib.sha256).hexdigest()


def role_dsn(database_url: str, role: str, secret_key: str) -> str:
    """Return ``database_url`` (over TCP or a unix socket) with ``role`` and its password in place of the account's."""
    if role not in ROLES:
        raise ConfigError(f"there is no login role {role!r}")
    return with_account(database_url, role, role_password(role, secret_key))


def with_account(database_url: str, user: str, password: str) -> str:
    """Return ``database_url`` for another account."""
    parts = urlsplit(database_url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ConfigError("database_url: must look like postgresql://user:password@host/database")
    hosts = parts.netloc.rpartition("@")[2]
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("user", "password", "passfile")]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{hosts}"
    return urlunsplit(("postgresql", netloc, parts.path, urlencode(query, safe="/"), ""))


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
            (list(ROLES),),
        )
    }
    for role in ROLES:
        if role not in found:
            _create(connection, role)
        _repair(connection, role, found.get(role, []), secret_key)


def _create(connection: Connection[TupleRow], role: str) -> None:
    try:
        _patiently(connection, sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return  # another installer was faster
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the account of database_url may not create the role {role}: give it CREATEROLE, "
            "or have an administrator run `pulse migrate` once"
        ) from error


def _repair(connection: Connection[TupleRow], role: str, powers: list[str], secret_key: str) -> None:
    password = role_password(role, secret_key)
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    words = " ".join(["LOGIN", *(_REPAIR[power] for power in powers)])
    try:
        _patiently(
            connection,
            sql.SQL("ALTER ROLE {} WITH {} PASSWORD {}").format(
                sql.Identifier(role), sql.SQL(words), sql.Literal(verifier)
            ),
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the account of database_url may not alter the role {role}"
            + (f", which must not be {', '.join(powers)}" if powers else "")
            + ": connect as the account that made it, or as a superuser"
        ) from error


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
