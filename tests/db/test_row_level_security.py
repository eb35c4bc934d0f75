"""Tenants never see each other: judged by the catalogue, table by table, and by trying. See test_policies.py, too."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from pulse_postgres.roles import OWNER, ROLES
from support import two_tenants
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.database import Database

OURS, THEIRS = TENANTS
TENANT_TABLES = {
    "tenants", "devices", "activation_codes", "device_state", "telemetry", "alerts", "alert_changes", "integrations",
    "integration_routes", "deliveries", "delivery_attempts", "quarantine_counts", "quarantine", "audit_log",
    "breakers", "api_tokens", "users", "sessions", "refresh_tokens", "browser_sessions", "device_labels",
    "request_keys", "device_commands", "accepted_counts", "device_connections", "metric_catalogue", "readers",
    "telemetry_marks", "telemetry_hours", "telemetry_exports", "telemetry_export_pieces", "device_sessions",
}  # fmt: skip
WITHOUT_TENANT = {
    "settings", "lane_partitions", "readings_accepted", "readings_expired", "intake_minutes", "signing_keys",
    "_yoyo_log", "_yoyo_migrations", "_yoyo_version",
}  # fmt: skip
NOT_FOR_CUSTOMERS = {"refresh_tokens", "browser_sessions", "device_sessions"}
NOT_FOR_OPERATORS = {"telemetry_export_pieces", "device_sessions"}


@pytest.fixture
def filled(database: Database) -> Database:
    two_tenants.fill(database)
    return database


def look(database: Database, query: str, *values: object) -> list[tuple[Any, ...]]:
    with database.superuser() as connection:
        return list(connection.execute(query.encode(), values or None))


@contextmanager
def acting_as(database: Database, role: str, tenant_id: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.dsn(role)) as connection:
        if tenant_id is not None:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant_id,))
        yield connection
        connection.rollback()


def tenants_seen(connection: psycopg.Connection[Any], table: str) -> set[str]:
    rows = connection.execute(sql.SQL("SELECT tenant_id FROM {}").format(sql.Identifier(table)))
    return {row[0] for row in rows}


# The catalogue


def test_every_table_is_known_here(filled: Database) -> None:
    rows = look(
        filled,
        "SELECT relname, EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id')"
        " FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition",
    )
    assert {name for name, has_tenant in rows if has_tenant} == TENANT_TABLES
    assert {name for name, has_tenant in rows if not has_tenant} == WITHOUT_TENANT


def test_every_tenant_table_forces_its_policies(filled: Database) -> None:
    rows = look(
        filled,
        "SELECT relname, relrowsecurity AND relforcerowsecurity, relispartition,"
        " (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id')",
    )
    assert [name for name, forced, _, _ in rows if not forced] == []
    assert [name for name, _, partition, policies in rows if not partition and not policies] == []
    days = [(name, policies) for name, _, partition, policies in rows if partition]
    assert sorted(days) == [("telemetry_20260102", 0), ("telemetry_hours_20260102", 0)]


def test_nobody_has_rights_on_a_day_of_telemetry(filled: Database) -> None:
    rows = look(
        filled,
        "SELECT DISTINCT pg_get_userbyid(a.grantee) FROM pg_class c, aclexplode(relacl) a"
        " WHERE relispartition AND relkind = 'r' AND a.grantee <> relowner",
    )
    assert rows == []
    for role in ROLES:
        for day in ("telemetry_20260102", "telemetry_hours_20260102"):
            with acting_as(filled, role, OURS) as connection:
                if role == OWNER:
                    assert tenants_seen(connection, day) == set()
                    continue
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    tenants_seen(connection, day)


def test_the_tenant_leads_every_key_and_joins_every_reference(filled: Database) -> None:
    keys = look(
        filled,
        "SELECT conrelid::regclass::text, attname FROM pg_constraint JOIN pg_attribute a"
        " ON a.attrelid = conrelid AND a.attnum = conkey[1]"
        " WHERE contype = 'p' AND connamespace = 'public'::regnamespace",
    )
    assert {table for table, first in keys if first == "tenant_id"} == {
        *TENANT_TABLES,
        "telemetry_20260102",
        "telemetry_hours_20260102",
    }
    loose = look(
        filled,
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
        " AND NOT EXISTS ("
        " SELECT FROM unnest(conkey, confkey) AS k (here, there)"
        " JOIN pg_attribute h ON h.attrelid = conrelid AND h.attnum = k.here AND h.attname = 'tenant_id'"
        " JOIN pg_attribute t ON t.attrelid = confrelid AND t.attnum = k.there AND t.attname = 'tenant_id')",
    )
    assert loose == []


# By trying


@pytest.mark.parametrize("tenant_id", [None, "", "tenant-c", "%", "tenant-a' OR true --"])
def test_a_customer_without_a_tenant_sees_nothing(filled: Database, tenant_id: str | None) -> None:
    for table in TENANT_TABLES - NOT_FOR_CUSTOMERS:
        with acting_as(filled, "pulse_web", tenant_id) as connection:
            assert tenants_seen(connection, table) == set(), table


def test_a_connection_forgets_its_tenant_with_the_transaction(filled: Database) -> None:
    with psycopg.connect(filled.dsn("pulse_web")) as connection:
        for table in TENANT_TABLES - NOT_FOR_CUSTOMERS:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (OURS,))
            assert tenants_seen(connection, table) == {OURS}, table
            connection.commit()
            assert tenants_seen(connection, table) == set(), table


WRITES = {
    "insert": "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
    " VALUES (%(theirs)s, gen_random_uuid(), 'webhook', 'w', '{}')",
    "move": "UPDATE integrations SET tenant_id = %(theirs)s",
    "take": "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
    " VALUES (%(theirs)s, %(their_id)s, 'webhook', 'w', '{}') ON CONFLICT DO NOTHING",
    "route": "INSERT INTO integration_routes (tenant_id, route_id, integration_id)"
    " VALUES (%(theirs)s, gen_random_uuid(), %(their_id)s)",
}


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_a_customer_writes_nothing_of_another_tenant(filled: Database, statement: str) -> None:
    with (
        acting_as(filled, "pulse_web", OURS) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
    ):
        connection.execute(statement.encode(), {"theirs": THEIRS, "their_id": an_id(THEIRS)})


def test_a_customer_changes_and_deletes_only_what_it_sees(filled: Database) -> None:
    with acting_as(filled, "pulse_web", OURS) as connection:
        assert connection.execute("UPDATE integrations SET name = 'x'").rowcount == 1
        assert connection.execute("DELETE FROM integration_routes").rowcount == 1
        for change in ("UPDATE integrations SET name = 'x'", "DELETE FROM integration_routes"):
            theirs = connection.execute(f"{change} WHERE tenant_id = %s".encode(), (THEIRS,))
            assert theirs.rowcount == 0


def test_a_route_cannot_lead_to_another_tenants_integration(filled: Database) -> None:
    with acting_as(filled, "pulse_web", OURS) as connection, pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(
            "INSERT INTO integration_routes (tenant_id, route_id, integration_id) VALUES (%s, gen_random_uuid(), %s)",
            (OURS, an_id(THEIRS)),
        )


def test_the_owner_is_bound_too(filled: Database) -> None:
    for table in TENANT_TABLES:
        with acting_as(filled, OWNER) as connection:
            assert tenants_seen(connection, table) == set(), table


def test_the_operator_sees_all_tenants_and_no_secret(filled: Database) -> None:
    with acting_as(filled, "pulse_operator") as connection:
        for table in TENANT_TABLES - NOT_FOR_OPERATORS:
            assert tenants_seen(connection, table) >= set(TENANTS), table
    for column in ("devices.token_hash", "activation_codes.code_hash", "integrations.secrets", "users.password_hash",
                   "browser_sessions.id_hash", "browser_sessions.tokens"):  # fmt: skip
        table, _, name = column.partition(".")
        with acting_as(filled, "pulse_operator") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("SELECT {} FROM {}").format(sql.Identifier(name), sql.Identifier(table)))
