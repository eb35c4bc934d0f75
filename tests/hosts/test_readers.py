"""Readers: logins of a tenant's own tools. They read their tenant, and neither a setting nor a trick widens that."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from support import two_tenants
from support.batches import judged
from support.command_line import Pulse, command_line, ok
from support.tree import ROOT
from support.two_tenants import TENANTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.database import Database

OURS, THEIRS = TENANTS
READABLE = {"telemetry", "devices", "device_state", "device_labels", "alerts"}
_LOGINS = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'reader\\_%%'"


@pytest.fixture
def pulse(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    two_tenants.fill(database)
    with database.superuser() as hand:
        hand.execute("DELETE FROM readers")
    run = command_line(monkeypatch, tmp_path, database)
    ok(run("migrate"))  # a cloned database has not the rights of the one that it was cloned from
    yield run
    with database.superuser() as hand:
        for (login,) in hand.execute(_LOGINS).fetchall():
            hand.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(str(login))))


def added(pulse: Pulse, tenant_id: str = OURS) -> str:
    """The address of a new reader."""
    return address(json.loads(ok(pulse("readers", "add", tenant_id, "--name", "grafana", "--json"))))


def address(said: dict[str, str]) -> str:
    user, password = quote(said["user"]), quote(said["password"])
    return f"postgresql://{user}:{password}@{said['host']}:{said['port']}/{said['database']}"


def asked(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_sees_its_tenant_alone_whatever_it_sets(pulse: Pulse) -> None:
    dsn = added(pulse)
    settings = (
        "SELECT",
        f"SET app.tenant_id = '{THEIRS}'",
        f"SELECT set_config('app.tenant_id', '{THEIRS}', false)",
        f"SET session_replication_role = replica; SET app.tenant_id = '{THEIRS}'",
        "SET row_security = off",
        "SET search_path = pg_temp, pg_catalog, public",
    )
    for setting in settings:
        for table in READABLE:
            with psycopg.connect(dsn, autocommit=True) as connection:
                try:
                    connection.execute(setting.encode())
                    found = connection.execute(f"SELECT DISTINCT tenant_id FROM public.{table}".encode()).fetchall()
                except psycopg.errors.InsufficientPrivilege:
                    assert "replica" in setting or "row_security" in setting
                    continue
            assert found == [(OURS,)], (setting, table)


def test_the_tenant_is_looked_up_once_a_statement(pulse: Pulse) -> None:
    plan = "\n".join(row[0] for row in asked(added(pulse), "EXPLAIN SELECT * FROM telemetry"))
    assert "InitPlan" in plan
    assert "SubPlan" not in plan


REFUSED = (
    "INSERT INTO telemetry (tenant_id) VALUES ('tenant-a')",
    "UPDATE devices SET name = 'x'",
    "DELETE FROM alerts",
    "TRUNCATE telemetry",
    "UPDATE readers SET tenant_id = 'tenant-b'",
    "SELECT token_hash FROM devices",
    "SELECT memory FROM device_state",
    "CREATE TABLE mine (n integer)",
    "CREATE TEMP TABLE mine (n integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT 100",
    "SET ROLE pulse_reader",
    "SET ROLE pulse_admin",
    "SET SESSION AUTHORIZATION pulse_admin",
    "ALTER TABLE telemetry DISABLE ROW LEVEL SECURITY",
    "COPY telemetry TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT ensure_telemetry_day('2030-01-01')",
    "SELECT drop_telemetry_day('2026-01-02', 1)",
)


def test_can_do_nothing_but_read_what_it_is_given(pulse: Pulse, database: Database) -> None:
    dsn = added(pulse)
    assert asked(dsn, "SHOW default_transaction_read_only") == [("on",)]
    assert asked(dsn, "SHOW statement_timeout") == [("30s",)]
    tables = judged(
        database, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    others = [f"SELECT * FROM {name}" for (name,) in tables if name not in READABLE]
    assert len(others) > 20
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for statement in (*REFUSED, *others):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        for _ in range(4):
            connection.execute("SELECT 1")


def test_has_five_connections_and_no_more(pulse: Pulse) -> None:
    dsn = added(pulse)
    held = [psycopg.connect(dsn) for _ in range(5)]
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        psycopg.connect(dsn)
    for each in held:
        each.close()


def test_its_password_is_made_up_shown_once_and_replaced(pulse: Pulse) -> None:
    made = pulse("readers", "add", OURS, "--name", "grafana")
    password = ok(made).strip()
    user = re.search(r"user (reader_grafana_[0-9a-f]{8})", made.stderr)
    assert user
    assert OURS not in user[1], "every login sees the names of all others"
    listed = ok(pulse("readers", "list", "--json"))
    assert password not in listed
    assert [(each["login"], each["can_log_in"]) for each in json.loads(listed)] == [(user[1], True)]
    assert "already" in pulse("readers", "add", OURS, "--name", "grafana").output
    said = json.loads(ok(pulse("readers", "password", OURS, "--name", "grafana", "--json")))
    assert said["user"] == user[1]
    assert asked(address(said), "SELECT current_user") == [(user[1],)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(address({**said, "password": password}))


def test_what_cannot_be_made_leaves_neither_a_row_nor_a_login(
    pulse: Pulse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no such tenant" in pulse("readers", "add", "nowhere", "--name", "grafana").output
    assert pulse("readers", "add", OURS, "--name", "Not'a name").exit_code == 2
    monkeypatch.setattr("pulse_postgres.reader_logins._SETTINGS", {"no_such_setting": "on"})
    assert pulse("readers", "add", OURS, "--name", "grafana").exit_code != 0
    assert judged(database, "SELECT * FROM readers") == []
    assert judged(database, _LOGINS) == []


def test_a_suspended_tenants_reader_reads_nothing_until_it_resumes(pulse: Pulse) -> None:
    dsn = added(pulse)
    ok(pulse("tenants", "suspend", OURS))
    assert [asked(dsn, f"SELECT tenant_id FROM {table}") for table in READABLE] == [[]] * len(READABLE)
    ok(pulse("tenants", "resume", OURS))
    assert asked(dsn, "SELECT device_id FROM devices") == [("d",)]


def test_is_gone_with_its_tenant(pulse: Pulse, database: Database) -> None:
    dsn, other = added(pulse), added(pulse, THEIRS)
    ok(pulse("tenants", "suspend", OURS))
    with database.superuser() as hand:
        hand.execute("UPDATE tenants SET suspended_at = now() - interval '1 hour' WHERE tenant_id = %s", (OURS,))
    with psycopg.connect(dsn, autocommit=True) as still_there:
        ok(pulse("tenants", "remove", OURS, "--confirm", OURS))
        with pytest.raises(psycopg.OperationalError):
            still_there.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(dsn)
    assert asked(other, "SELECT DISTINCT tenant_id FROM telemetry") == [(THEIRS,)]


def test_removed_by_itself(pulse: Pulse, database: Database) -> None:
    dsn = added(pulse)
    ok(pulse("readers", "remove", OURS, "--name", "grafana"))
    assert judged(database, _LOGINS) == []
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)
    assert "no reader" in pulse("readers", "remove", OURS, "--name", "grafana").output
    done = judged(database, "SELECT action FROM audit_log WHERE action LIKE 'reader.%%' ORDER BY at")
    assert done == [("reader.create",), ("reader.remove",)]


def test_a_login_without_its_row_reads_nothing_and_goes_with_the_next_migration(
    pulse: Pulse, database: Database
) -> None:
    dsn = added(pulse)
    with database.superuser() as hand:
        hand.execute("DELETE FROM readers")
    assert [asked(dsn, f"SELECT tenant_id FROM {table}") for table in READABLE] == [[]] * len(READABLE)
    ok(pulse("migrate"))
    assert judged(database, _LOGINS) == []


def test_one_with_more_rights_by_hand_is_locked(pulse: Pulse, database: Database) -> None:
    dsn = added(pulse)
    with database.superuser() as hand:
        ((login,),) = hand.execute(_LOGINS).fetchall()
        hand.execute(sql.SQL("GRANT SELECT ON tenants TO {}").format(sql.Identifier(str(login))))
        ok(pulse("readers", "remove", OURS, "--name", "grafana"))
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            psycopg.connect(dsn)
        hand.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(str(login))))


def test_every_query_of_the_guide_runs(pulse: Pulse, database: Database) -> None:
    """As the reader, with Grafana's macros put in as Grafana's PostgreSQL plugin does."""
    with database.superuser() as hand:
        hand.execute("UPDATE telemetry SET metrics = '{\"temperature_c\": 21.5}'")
    dsn = added(pulse)
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/how-to/grafana.md").read_text(), re.DOTALL)
    assert len(queries) == 3
    answers = [asked(dsn, grafanas(each)) for each in queries]
    assert all(answers), "each finds something of this tenant"
    assert "tenant-b" not in repr(answers)


def grafanas(query: str) -> str:
    around = "'2026-01-01T00:00:00Z' AND '2027-12-31T00:00:00Z'"
    query = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN {around}", query)
    bucket = r"floor(extract(epoch from \1)/300)*300"
    query = re.sub(r"\$__timeGroupAlias\(([^,]*), *\$__interval\)", bucket + ' AS "time"', query)
    query = query.replace("$device", "d").replace("$metric", "temperature_c")
    assert "$" not in query
    return query
