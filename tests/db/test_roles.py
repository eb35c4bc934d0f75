"""The login roles: who they are, how they get in, and how they are kept harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from pulse_core.errors import ConfigError
from pulse_postgres.migrate import migrate
from pulse_postgres.roles import ROLES, role_dsn, role_password

if TYPE_CHECKING:
    from support.database import Database

POWERS = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")


@pytest.mark.parametrize("role", ROLES)
def test_logs_in_with_its_derived_password_and_is_nobody_special(database: Database, role: str) -> None:
    with psycopg.connect(database.dsn(role)) as connection:
        assert connection.execute("SELECT session_user, current_user").fetchone() == (role, role)
        powers = f"SELECT {', '.join(POWERS)} FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(powers.encode()).fetchone() == (False,) * len(POWERS)


def test_no_role_may_act_as_another(database: Database) -> None:
    with database.superuser() as connection:
        rows = connection.execute(
            "SELECT r.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid"
            " JOIN pg_roles m ON m.oid = a.member WHERE r.rolname = ANY(%(ours)s) OR m.rolname = ANY(%(ours)s)",
            {"ours": list(ROLES)},
        ).fetchall()
    assert rows == []
    with psycopg.connect(database.dsn("pulse_web")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SET ROLE pulse_admin")


def test_passwords_are_kept_as_scram_and_differ(database: Database) -> None:
    with database.superuser() as connection:
        rows = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = ANY(%s)", (list(ROLES),))
        kept = [str(row[0]) for row in rows]
    assert len(kept) == len(ROLES)
    assert all(each.startswith("SCRAM-SHA-256$") for each in kept)
    derived = {role_password(role, key) for role in ROLES for key in ("one", "two")}
    assert len(derived) == 2 * len(ROLES)


def test_migrate_takes_powers_away_again_and_gives_the_password_back(database: Database) -> None:
    with database.superuser() as connection:
        connection.execute("ALTER ROLE pulse_auth SUPERUSER BYPASSRLS CREATEDB NOLOGIN PASSWORD 'stolen'")
    migrate(database.url, database.secret_key)
    test_logs_in_with_its_derived_password_and_is_nobody_special(database, "pulse_auth")


@pytest.mark.parametrize(
    ("url", "hosts", "rest"),
    [
        ("postgresql://a:b@db.example:5433/pulse?sslmode=require", "db.example:5433", "sslmode=require"),
        ("postgres://a@[::1]:5433/pulse", "[::1]:5433", ""),
        ("postgresql://a:p%40ss@/pulse?host=/run/pg&port=5433", "", "host=/run/pg&port=5433"),
        ("postgresql:///pulse?host=/run/pg&user=a&password=b", "", "host=/run/pg"),
        ("postgresql://a:b@one:1,two:2/pulse?target_session_attrs=read-write", "one:1,two:2", "target_session_attrs"),
    ],
)
def test_an_address_changes_its_account_and_nothing_else(url: str, hosts: str, rest: str) -> None:
    made = urlsplit(role_dsn(url, "pulse_web", "key"))
    assert made.scheme == "postgresql"
    assert made.netloc == f"pulse_web:{role_password('pulse_web', 'key')}@{hosts}"
    assert made.path == "/pulse"
    assert made.query.startswith(rest)
    assert "user" not in made.query
    assert "password" not in made.query


@pytest.mark.parametrize("url", ["mysql://a:b@host/pulse", "host=/run dbname=pulse", ""])
def test_an_address_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://"):
        role_dsn(url, "pulse_web", "key")


def test_there_are_no_other_roles() -> None:
    with pytest.raises(ConfigError, match="no login role 'postgres'"):
        role_dsn("postgresql://h/pulse", "postgres", "key")
