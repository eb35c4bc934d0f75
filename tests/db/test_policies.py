"""Row-level security by itself: every policy is declared, does what it says, and none can be weakened unnoticed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pulse_postgres.accounts import READERS, ROLES
from support import two_tenants
from support.policies import POLICIES, SUSPENDED
from support.reach import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.database import Database, PostgresServer

Connection = psycopg.Connection[Any]

DAY = "telemetry_20260102"
HOURS = "telemetry_hours_20260102"
GUARDED = [*POLICIES, DAY, HOURS]

_POLICIES = """
    SELECT policyname, permissive, roles, cmd, qual, with_check FROM pg_policies
    WHERE schemaname = 'public' AND tablename = %s
"""
_EVERY_TENANT = "tenant_id = COALESCE(NULLIF(current_setting('app.tenant_id', true), ''), tenant_id)"
_DEFINERS = {
    "ensure_telemetry_day": "makes an empty table with a name of its own choosing, and returns nothing",
    "ensure_telemetry_hours": "makes an empty table as well, and returns nothing",
    "hold_telemetry_day": "locks one day and returns nothing",
    "drop_telemetry_day": "drops one day, which only the pipeline may ask for, and returns nothing",
}
"""What runs with the owner's rights, and why no row gets out that way."""


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> Iterator[Database]:
    """Two tenants, one of them suspended. Nothing here is ever committed."""
    database = postgres.fresh()
    two_tenants.fill(database)
    with database.superuser() as hand:
        hand.execute("UPDATE tenants SET status = 'SUSPENDED' WHERE tenant_id = %s", (SUSPENDED,))
        hand.execute("INSERT INTO readers (tenant_id, name, login) VALUES ('tenant-a', 'owner', 'pulse_owner')")
        hand.execute("INSERT INTO signing_keys VALUES ('k', '', '', now(), now())")
    yield database
    database.drop()


@pytest.fixture
def connection(filled: Database) -> Iterator[Connection]:
    """The superuser, in a transaction in which every role has every right: policies alone hold it back."""
    with psycopg.connect(filled.url) as opened:
        opened.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {', '.join((*ROLES, READERS))}".encode())
        yield opened
        opened.rollback()


def look(connection: Connection, query: str, *values: object) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), values or None).fetchall()


# Declared


def test_every_table_with_policies_is_declared(connection: Connection) -> None:
    found = look(connection, "SELECT relname FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p')")
    assert {row[0] for row in found} == set(GUARDED)


@pytest.mark.parametrize("table", GUARDED)
def test_the_policies_are_those_declared_and_no_others(connection: Connection, table: str) -> None:
    found = sorted(
        (roles, kind, command, using or "", check or "")
        for _, kind, roles, command, using, check in look(connection, _POLICIES, table)
    )
    assert found == sorted(
        ([f"pulse_{role}"], "PERMISSIVE", each.command, (each.using or "").format(table=table), each.check or "")
        for role, policies in POLICIES.get(table, {}).items()
        for each in policies
    )


def test_only_these_functions_run_with_rights_that_are_not_the_callers(connection: Connection) -> None:
    found = look(
        connection,
        "SELECT proname, proconfig, prorettype::regtype::text,"
        " ARRAY(SELECT pg_get_userbyid(a.grantee)::text FROM aclexplode(proacl) a WHERE a.grantee <> proowner)"
        " FROM pg_proc WHERE prosecdef AND pronamespace <> 'pg_catalog'::regnamespace",
    )
    assert {row[0] for row in found} == set(_DEFINERS)
    for name, config, returned, callers in found:
        assert "search_path=pg_catalog, pg_temp" in config, f"{name}: names must not be looked up in a caller's schema"
        assert returned == "void", name
        assert callers == ["pulse_pipeline"], name
    leaky = "SELECT proname FROM pg_proc WHERE proleakproof AND pronamespace <> 'pg_catalog'::regnamespace"
    assert look(connection, leaky) == [], "those look at rows before the policy does"


def test_nothing_else_reads_past_the_policies(connection: Connection) -> None:
    """A view reads with its owner's eyes unless it says security_invoker; a materialized one and a rule always do."""
    views = look(
        connection,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND (relkind = 'm' OR relkind = 'v'"
        " AND NOT coalesce(reloptions @> '{security_invoker=true}', false))",
    )
    assert views == []
    assert look(connection, "SELECT rulename FROM pg_rules WHERE schemaname = 'public'") == []
    assert look(connection, "SELECT pubname FROM pg_publication") == []
    assert look(connection, "SELECT defaclobjtype FROM pg_default_acl") == []


# Tried


@pytest.mark.parametrize("table", GUARDED)
def test_each_role_reaches_what_is_declared_and_each_weakened_policy_is_noticed(
    connection: Connection, table: str
) -> None:
    tried = Table(connection, table)
    assert list(tried.differences()) == []
    surviving = []
    for name, statement in weakened(connection, table):
        connection.execute("SAVEPOINT mutant")
        connection.execute(statement.encode())
        if next(tried.differences(), None) is None:
            surviving.append(name)
        connection.execute("ROLLBACK TO SAVEPOINT mutant")
    assert surviving == []
    assert list(tried.differences()) == []


def weakened(connection: Connection, table: str) -> Iterator[tuple[str, str]]:
    """Everything that could go wrong with the policies of a table, one at a time: what, and how."""
    yield "off", f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
    yield "not for its owner", f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"
    for name, _, roles, command, using, check in look(connection, _POLICIES, table):
        policy = f"POLICY {name} ON {table}"
        yield f"{name}: dropped", f"DROP {policy}"
        readers = "ALTER POLICY reader ON readers TO PUBLIC; " if "readers" in (using or "") else ""
        yield f"{name}: everybody's", f"{readers}ALTER {policy} TO PUBLIC"
        if using not in {None, "true"}:
            yield f"{name}: sees all", f"ALTER {policy} USING (true)"
        if command in {"ALL", "INSERT", "UPDATE"} and (check or using) != "true":
            yield f"{name}: writes all", f"ALTER {policy} WITH CHECK (true)"
        if "app.tenant_id" in (using or ""):
            yield f"{name}: no tenant is every tenant", f"ALTER {policy} USING ({_EVERY_TENANT})"
        if command != "ALL":
            yield (
                f"{name}: for every command",
                f"DROP {policy}; CREATE {policy} TO {roles[0]} USING (true) WITH CHECK (true)",
            )


@pytest.mark.parametrize("table", ["integrations", "audit_log", "telemetry"])
def test_mutants_are_made_of_every_policy(connection: Connection, table: str) -> None:
    mutants = [name for name, _ in weakened(connection, table)]
    for role in POLICIES[table]:
        assert [name for name in mutants if name.startswith(role) and name.endswith("dropped")], role
    assert "web: sees all" in mutants
    assert "web: writes all" in mutants
