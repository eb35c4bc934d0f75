"""What each login role may do, in full, and that what it may do is what its work needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pulse_postgres.roles import OWNER, ROLES
from support import two_tenants
from support.two_tenants import DAY, TENANTS, an_id

if TYPE_CHECKING:
    from support.database import Database

OURS = TENANTS[0]

R, RI, RIU, RU, RIUD = "r", "ri", "riu", "ru", "riud"
"""Read, insert, update, delete; in brackets: on some columns only."""

EXPECTED: dict[str, dict[str, str]] = {
    "tenants": {"web": "r(u)", "operator": R, "admin": RIUD, "auth": R, "pipeline": R},
    "devices": {"web": "(riu)", "operator": "(r)", "admin": RIUD, "auth": "r(u)", "pipeline": R, "reader": "(r)"},
    "activation_codes": {"web": "d(ri)", "operator": "(r)", "admin": RIUD, "auth": "r(u)"},
    "device_labels": {"web": "rid", "operator": R, "admin": "rid", "reader": R},
    "device_state": {"web": R, "operator": R, "admin": R, "pipeline": RIUD, "reader": "(r)"},
    "device_commands": {"web": "r(i)", "operator": R, "pipeline": "rd(u)"},
    "device_connections": {"web": R, "operator": R, "pipeline": "rid(u)"},
    "device_sessions": {"pipeline": "rid(u)"},
    "metric_catalogue": {"web": RIUD, "operator": R, "admin": RIUD},
    "telemetry": {"web": R, "operator": R, "admin": "d(r)", "pipeline": RI, "reader": R},
    "telemetry_marks": {"web": R, "operator": R, "admin": "d(r)", "pipeline": RIUD},
    "telemetry_hours": {"web": R, "operator": R, "admin": "d(r)", "pipeline": "rid"},
    "alerts": {"web": "r(u)", "operator": R, "pipeline": RIU, "deliver": R, "reader": R},
    "alert_changes": {"web": RI, "operator": R, "pipeline": RI},
    "integrations": {"web": RIU, "operator": "(r)", "admin": RIU, "pipeline": "(r)", "deliver": "r(u)"},
    "integration_routes": {"web": RIUD, "operator": R, "admin": RIUD, "pipeline": R, "deliver": R},
    "deliveries": {"web": "ri(u)", "operator": R, "admin": "(ru)", "pipeline": RI, "deliver": "ri(u)"},
    "breakers": {"web": R, "operator": R, "deliver": RIUD},
    "delivery_attempts": {"web": R, "operator": R, "deliver": RI},
    "quarantine_counts": {"web": R, "operator": R, "admin": "d(r)", "pipeline": RIUD},
    "accepted_counts": {"web": R, "operator": R, "admin": "d(r)", "pipeline": RIUD},
    "quarantine": {"web": R, "operator": R, "admin": "d(r)", "pipeline": "rid"},
    "lane_partitions": {"pipeline": RIU},
    "readings_accepted": {"operator": R, "pipeline": RIU},
    "readings_expired": {"operator": R, "admin": RIU},
    "telemetry_exports": {"web": "rd(iu)", "operator": R, "admin": "rd(u)"},
    "telemetry_export_pieces": {"web": "rid"},
    "intake_minutes": {"operator": R, "pipeline": RIUD},
    "api_tokens": {"web": "(riu)", "operator": "(r)", "admin": RIUD, "auth": "r(u)"},
    "users": {"web": "d(riu)", "operator": "(r)", "admin": "iud(r)", "auth": "r(u)"},
    "sessions": {"web": "(ru)", "operator": R, "admin": "r(u)", "auth": "rid(u)"},
    "refresh_tokens": {"operator": "(r)", "auth": "ri(u)"},
    "browser_sessions": {"operator": "(r)", "admin": "d(ru)", "auth": "rid(u)"},
    "signing_keys": {"admin": "rid(u)", "auth": RI},
    "request_keys": {"web": "r(iu)", "operator": "(r)", "admin": "rd(iu)"},
    "readers": {"web": R, "operator": R, "admin": "rid(u)", "reader": "(r)"},
    "settings": {"operator": R, "admin": RIUD, "pipeline": R, "deliver": R},
    "audit_log": {"web": RI, "operator": RI, "admin": "i", "auth": "i"},
    "_yoyo_migrations": {role.removeprefix("pulse_"): R for role in ROLES if role != OWNER},
}

_RIGHTS = """
    SELECT c.relname, pg_get_userbyid(a.grantee), a.privilege_type, false
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner
    UNION
    SELECT c.relname, pg_get_userbyid(a.grantee), a.privilege_type, true
    FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner
"""
_LETTERS = {"SELECT": "r", "INSERT": "i", "UPDATE": "u", "DELETE": "d"}


@pytest.fixture
def filled(database: Database) -> Database:
    two_tenants.fill(database)
    return database


def run(database: Database, role: str, statement: str, **values: object) -> psycopg.Cursor[Any]:
    with psycopg.connect(database.dsn(role)) as connection:
        return connection.execute(statement.encode(), values)


def refused(database: Database, role: str, statement: str, **values: object) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(database, role, statement, **values)


def test_every_right_of_every_role(filled: Database) -> None:
    found: dict[str, dict[str, dict[bool, set[str]]]] = {}
    with filled.superuser() as connection:
        for table, grantee, right, partly in connection.execute(_RIGHTS):
            role = str(grantee).removeprefix("pulse_")
            words = found.setdefault(str(table), {}).setdefault(role, {False: set(), True: set()})
            words[bool(partly)].add(_LETTERS.get(str(right), f"<{right}>"))
    assert {
        table: {role: spelled(words) for role, words in roles.items()} for table, roles in found.items()
    } == EXPECTED


def spelled(words: dict[bool, set[str]]) -> str:
    whole, partly = ("".join(sorted(words[each], key="riud".find)) for each in (False, True))
    return whole + (f"({partly})" if partly else "")


@pytest.mark.parametrize("role", ROLES)
def test_the_audit_log_only_grows(filled: Database, role: str) -> None:
    for statement in (
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log VALUES ('x') ON CONFLICT (tenant_id, audit_id) DO UPDATE SET actor = 'c'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(filled, role, statement)
    with filled.superuser() as connection:
        assert connection.execute("SELECT DISTINCT actor FROM audit_log").fetchall() == [("test",)]


@pytest.mark.parametrize("role", ["pulse_operator", "pulse_admin", "pulse_auth"])
def test_those_who_are_watched_can_write_the_audit_log(filled: Database, role: str) -> None:
    assert run(filled, role, "INSERT INTO audit_log (tenant_id, actor, action) VALUES ('x', 'a', 'b')").rowcount == 1


@pytest.mark.parametrize("role", [role for role in ROLES if role != OWNER])
def test_no_role_changes_the_schema(filled: Database, role: str) -> None:
    for statement in (
        "CREATE TABLE mine (n integer)",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "ALTER TABLE devices DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY all_of_it ON devices USING (true)",
        "TRUNCATE devices CASCADE",
        "ALTER ROLE CURRENT_USER BYPASSRLS",
        "COPY devices TO '/tmp/devices'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(filled, role, statement)


def test_a_customer_writes_what_proves_who_somebody_is_and_never_reads_it(filled: Database) -> None:
    values = {"t": OURS, "hash": b"y" * 32}
    with psycopg.connect(filled.dsn("pulse_web"), cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (OURS,))
        work = """
            INSERT INTO users (tenant_id, username, role, email, password_hash, created_by)
                VALUES (%(t)s, 'new', 'customer_viewer', '', 'h', 'test') RETURNING user_id, username;
            UPDATE users SET password_hash = 'h2', updated_at = now() WHERE tenant_id = %(t)s;
            INSERT INTO api_tokens (tenant_id, name, role, token_hash, created_by, expires_at)
                VALUES (%(t)s, 'n', 'customer_viewer', %(hash)s, 'test', now()) RETURNING token_id;
            UPDATE sessions SET ended_at = now() WHERE tenant_id = %(t)s;
            INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%(t)s, 'new', 's');
            UPDATE devices SET token_hash = %(hash)s, previous_token_hash = NULL, previous_until = now()
                WHERE tenant_id = %(t)s;
            DELETE FROM activation_codes WHERE tenant_id = %(t)s AND used_at IS NULL;
            INSERT INTO activation_codes (tenant_id, device_id, code_hash, expires_at)
                VALUES (%(t)s, 'new', %(hash)s, now()) RETURNING expires_at
        """
        connection.execute(work.encode(), values)
    for statement in (
        "SELECT password_hash FROM users",
        "UPDATE users SET password_hash = password_hash || 'x'",
        "UPDATE users SET email = password_hash",
        "UPDATE users SET username = 'x'",
        "UPDATE users SET tenant_id = 'tenant-b'",
        "INSERT INTO users (username, role, password_hash, created_by, user_id) VALUES ('x', 'o', 'h', 't', NULL)",
        "SELECT token_hash FROM api_tokens",
        "UPDATE api_tokens SET token_hash = 'x'",
        "UPDATE api_tokens SET role = 'customer_admin'",
        "UPDATE api_tokens SET expires_at = now()",
        "DELETE FROM api_tokens",
        "INSERT INTO sessions (tenant_id, user_id, expires_at) SELECT tenant_id, user_id, now() FROM users",
        "SELECT FROM refresh_tokens",
        "SELECT token_hash FROM devices",
        "SELECT previous_token_hash FROM devices",
        "UPDATE devices SET token_hash = previous_token_hash",
        "UPDATE devices SET site_id = 'x'",
        "UPDATE devices SET tenant_id = 'tenant-b'",
        "DELETE FROM devices",
        "SELECT code_hash FROM activation_codes",
        "UPDATE activation_codes SET expires_at = now()",
        "UPDATE device_connections SET reason = 'x'",
        "UPDATE alerts SET severity = 1",
        "UPDATE device_labels SET value = 'x'",
    ):
        refused(filled, "pulse_web", statement)


def test_nobody_lets_a_revoked_device_in_again(filled: Database) -> None:
    with filled.superuser() as connection:
        connection.execute("UPDATE devices SET revoked_at = now(), token_hash = NULL")
    for statement in ("revoked_at = NULL", "revoked_at = now()", "token_hash = sha256('x')"):
        for role in ("pulse_web", "pulse_admin"):
            with psycopg.connect(filled.dsn(role)) as connection:
                connection.execute("SELECT set_config('app.tenant_id', %s, true)", (OURS,))
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="stays revoked"):
                    connection.execute(f"UPDATE devices SET {statement} WHERE tenant_id = 'tenant-a'".encode())


def test_the_pipeline_does_its_work(filled: Database) -> None:
    work = """
        SELECT ensure_telemetry_day('2026-01-03');
        INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, metrics)
            VALUES (%(t)s, 'd', '2026-01-03', 1, now(), 'telemetry', 's', '{}') ON CONFLICT DO NOTHING;
        INSERT INTO device_state (tenant_id, device_id, status, status_since) VALUES (%(t)s, 'd', 'STALE', now())
            ON CONFLICT (tenant_id, device_id) DO UPDATE SET status = excluded.status;
        UPDATE alerts SET status = 'CLOSED', closed_at = now() WHERE tenant_id = %(t)s;
        INSERT INTO alert_changes (tenant_id, alert_id, event, changed_at) VALUES (%(t)s, %(id)s, 'CLOSED', now())
            ON CONFLICT DO NOTHING;
        INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, notification, due_at)
            VALUES (%(t)s, gen_random_uuid(), %(id)s, 'CLOSED', 'alert', '{}', now()) ON CONFLICT DO NOTHING;
        SELECT drop_telemetry_before('2026-01-03')
    """
    values = {"t": OURS, "id": an_id(OURS)}
    with psycopg.connect(filled.dsn("pulse_pipeline"), cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(work.encode(), values)
    with filled.superuser() as connection:
        days = connection.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'").fetchall()
        assert days == [("telemetry_20260103",)]
        assert connection.execute("SELECT status FROM device_state WHERE tenant_id = %s", (OURS,)).fetchone() == (
            "STALE",
        )


def test_the_pipeline_does_no_more(filled: Database) -> None:
    for statement in (
        "UPDATE devices SET site_id = 'x'",
        "UPDATE telemetry SET metrics = '{}'",
        "DELETE FROM telemetry",
        "DELETE FROM alerts",
        "UPDATE deliveries SET status = 'DEAD'",
        "SELECT config FROM integrations",
        "SELECT secrets FROM integrations",
        "SELECT * FROM activation_codes",
        "INSERT INTO settings (name, value) VALUES ('MODE', '1')",
        "SELECT * FROM audit_log",
        "DROP TABLE telemetry_20260102",
    ):
        refused(filled, "pulse_pipeline", statement)


def test_delivery_does_its_work(filled: Database) -> None:
    work = """
        UPDATE deliveries SET status = 'SENDING', leased_by = 'me', lease_until = now(), attempts = attempts + 1,
            first_attempt_at = now() WHERE (tenant_id, delivery_id) IN (SELECT tenant_id, delivery_id FROM deliveries
            WHERE tenant_id = %(t)s FOR UPDATE SKIP LOCKED);
        INSERT INTO delivery_attempts (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome)
            VALUES (%(t)s, %(id)s, 2, now(), 1, 'PERMANENT');
        UPDATE integrations SET enabled = false, disabled_reason = 'gone', updated_at = now()
            WHERE tenant_id = %(t)s AND config IS NOT NULL AND secrets IS NULL;
    """
    with psycopg.connect(filled.dsn("pulse_deliver"), cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(work.encode(), {"t": OURS, "id": an_id(OURS)})
    with filled.superuser() as connection:
        rows = connection.execute("SELECT enabled FROM integrations ORDER BY tenant_id").fetchall()
        assert rows == [(False,), (True,)]


def test_delivery_does_no_more(filled: Database) -> None:
    for statement in (
        "UPDATE deliveries SET notification = '{}'",
        "DELETE FROM deliveries",
        "UPDATE integration_routes SET enabled = true",
        "UPDATE integrations SET config = '{}'",
        "UPDATE alerts SET status = 'CLOSED'",
        "UPDATE delivery_attempts SET detail = 'x'",
        "SELECT * FROM devices",
        "SELECT * FROM telemetry",
        f"SELECT ensure_telemetry_day('{DAY}')",
    ):
        refused(filled, "pulse_deliver", statement)


def test_activation_does_its_work_and_no_more(filled: Database) -> None:
    used = "UPDATE activation_codes SET used_at = now() WHERE used_at IS NULL AND code_hash = %(hash)s"
    assert run(filled, "pulse_auth", used, hash=OURS.ljust(32, "x").encode()).rowcount == 1
    token = "UPDATE devices SET token_hash = %(hash)s, updated_at = now() WHERE tenant_id = %(t)s"
    assert run(filled, "pulse_auth", token, hash=b"n" * 32, t=OURS).rowcount == 1
    for statement in (
        "UPDATE devices SET revoked_at = NULL",
        "UPDATE devices SET tenant_id = 'tenant-b'",
        "UPDATE activation_codes SET expires_at = now() + interval '1 year'",
        "DELETE FROM devices",
        "SELECT * FROM integrations",
        "SELECT * FROM telemetry",
    ):
        refused(filled, "pulse_auth", statement)


def test_logging_in_does_its_work_and_no_more(filled: Database) -> None:
    work = """
        UPDATE users SET failed_logins = 0, last_login_at = now(), password_hash = 'h' WHERE tenant_id = %(t)s;
        INSERT INTO sessions (tenant_id, user_id, expires_at) VALUES (%(t)s, %(id)s, now());
        UPDATE sessions SET renewed_at = now(), ended_at = now() WHERE tenant_id = %(t)s;
        UPDATE refresh_tokens SET used_at = now() WHERE tenant_id = %(t)s AND used_at IS NULL;
        DELETE FROM sessions WHERE tenant_id = %(t)s;
        UPDATE browser_sessions SET ended_at = now(), tokens = NULL WHERE tenant_id = %(t)s;
        DELETE FROM browser_sessions WHERE tenant_id = %(t)s;
    """
    with psycopg.connect(filled.dsn("pulse_auth"), cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(work.encode(), {"t": OURS, "id": an_id(OURS)})
    with filled.superuser() as connection:
        rows = connection.execute("SELECT tenant_id FROM refresh_tokens").fetchall()
        assert rows == [(TENANTS[1],)], "used tokens go with their session, past row-level security"
    for statement in (
        "UPDATE users SET role = 'operator_admin'",
        "UPDATE users SET disabled_at = NULL",
        "INSERT INTO users (username, role, password_hash, created_by) VALUES ('x', 'operator', '', '')",
        "DELETE FROM users",
        "UPDATE sessions SET expires_at = now() + interval '1 year'",
        "UPDATE browser_sessions SET expires_at = now() + interval '1 year'",
        "UPDATE browser_sessions SET tenant_id = 'tenant-b'",
        "UPDATE signing_keys SET private_key = ''",
        "DELETE FROM signing_keys",
        "SELECT * FROM audit_log",
    ):
        refused(filled, "pulse_auth", statement)
    for role in ("pulse_web", "pulse_operator", "pulse_pipeline", "pulse_deliver"):
        for statement in (
            "SELECT password_hash FROM users",
            "SELECT token_hash FROM refresh_tokens",
            "SELECT id_hash FROM browser_sessions",
            "SELECT tokens FROM browser_sessions",
        ):
            refused(filled, role, statement)
        refused(filled, role, "SELECT kid FROM signing_keys")
    refused(filled, "pulse_admin", "SELECT password_hash FROM users")
    refused(filled, "pulse_admin", "SELECT id_hash FROM browser_sessions")


async def test_a_day_can_be_made_while_every_lane_is_inserting(filled: Database) -> None:
    """One lane's open transaction must not hold up another that needs a new day."""
    insert = (
        "INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, metrics)"
        " VALUES (%s, 'd', %s, 2, now(), 'telemetry', 's', '{}')"
    )
    with (
        psycopg.connect(filled.dsn("pulse_pipeline")) as busy,
        psycopg.connect(filled.dsn("pulse_pipeline")) as other,
    ):
        busy.execute(insert, (OURS, DAY))
        other.execute("SET LOCAL lock_timeout = '5s'")
        other.execute(insert, (TENANTS[1], DAY))
        other.execute("SELECT ensure_telemetry_day('2026-01-03')")
        other.execute(insert, (TENANTS[1], "2026-01-03"))
        other.commit()
        busy.execute(insert, (OURS, "2026-01-03"))
        busy.commit()


async def test_dropping_days_gives_way_to_lanes(filled: Database) -> None:
    with (
        psycopg.connect(filled.dsn("pulse_pipeline")) as busy,
        psycopg.connect(filled.dsn("pulse_pipeline")) as dropping,
    ):
        busy.execute("SELECT count(*) FROM telemetry")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            dropping.execute("SELECT drop_telemetry_before('2027-01-01')")
