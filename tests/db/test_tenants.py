"""Tenants changed and removed: nothing of theirs is left, nothing of others' is missing, and the books balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest

from pulse_core.errors import Conflict, NotFound, StoreUnavailable
from pulse_postgres.pool import open_pool
from pulse_postgres.tenants import Tenants
from support import marks, two_tenants
from support.batches import judged
from support.books import fill, line, statement
from support.rights import snapshot
from support.tables import tenant_tables
from support.two_tenants import DAY, TENANTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database

OURS, THEIRS = TENANTS
SUSPEND = {"status": "SUSPENDED"}


@pytest.fixture
async def filled(database: Database) -> Database:
    """Two tenants with rows in every table, and books that balance."""
    two_tenants.fill(database)
    judged(database, "INSERT INTO readings_accepted (day, shard, accepted) VALUES (%s, -1, 2) RETURNING true", DAY)
    await fill(database, f"{OURS}/dev-1", f"{THEIRS}/dev-1")
    assert (await statement(database)).balanced
    return database


@pytest.fixture
async def tenants(filled: Database) -> AsyncIterator[Tenants]:
    pool = await open_pool(filled.dsn("pulse_admin"), name="test", max_size=2)
    yield Tenants(pool)
    await pool.close()


async def settle(tenants: Tenants, database: Database) -> None:
    """Suspend it, and let so much time pass that it may be removed."""
    await tenants.change(OURS, SUSPEND, actor="test")
    judged(database, "UPDATE tenants SET suspended_at = now() - interval '11 s' WHERE tenant_id = %s RETURNING 1", OURS)


def rows_of(database: Database, tenant_id: str, tables: set[str]) -> dict[str, int]:
    return {
        table: judged(database, f"SELECT count(*) FROM {table} WHERE tenant_id = %s", tenant_id)[0][0]
        for table in tables
    }


async def test_of_a_removed_tenant_nothing_is_left_and_the_books_balance(tenants: Tenants, filled: Database) -> None:
    tables = tenant_tables(filled) - {"audit_log"}
    assert 0 not in rows_of(filled, OURS, tables).values(), "the control: there is something in every table"
    theirs = snapshot(filled, tables, f"tenant_id IN ('{THEIRS}', '')")
    await settle(tenants, filled)
    lines = judged(filled, "SELECT count(*) FROM audit_log WHERE tenant_id = %s", OURS)[0][0]
    assert await tenants.remove(OURS, actor="test") == 1 + 6
    assert set(rows_of(filled, OURS, tables).values()) == {0}
    assert snapshot(filled, tables, f"tenant_id IN ('{THEIRS}', '')") == theirs
    found = await statement(filled)
    assert found.balanced, found
    assert line(found, "readings").right == {"stored": 1 + 6, "expired": 1 + 6}
    assert judged(filled, "SELECT count(*) FROM audit_log WHERE tenant_id = %s", OURS) == [(lines + 1,)]
    last = "SELECT actor, action, resource, details FROM audit_log ORDER BY at DESC LIMIT 1"
    assert judged(filled, last) == [("test", "tenant.remove", OURS, {"readings": 7})]


async def test_no_table_keeps_a_mark_of_a_removed_tenant(tenants: Tenants, filled: Database) -> None:
    """Whatever tables there are or will be, with a tenant or without: all but the audit log, which keeps its lines."""
    mark = "mark-4c1d8e"
    with psycopg.connect(filled.url, autocommit=True, cursor_factory=psycopg.ClientCursor) as hand:
        marks.leave(hand, OURS, mark)
        assert set(marks.found(hand, OURS)) >= tenant_tables(filled), "the control: there is something in every table"
        assert {"devices", "alert_changes", "deliveries", "users", "audit_log"} <= set(marks.found(hand, mark))
        await settle(tenants, filled)
        await tenants.remove(OURS, actor="test")
        assert marks.found(hand, mark) == {"audit_log": 1}
        assert set(marks.found(hand, OURS)) == {"audit_log"}


async def test_only_a_tenant_that_has_stopped_is_removed(tenants: Tenants, filled: Database) -> None:
    before = snapshot(filled, tenant_tables(filled) - {"tenants", "audit_log"})
    with pytest.raises(Conflict, match="suspend"):
        await tenants.remove(OURS, actor="test")
    await tenants.change(OURS, SUSPEND, actor="test")
    with pytest.raises(Conflict, match="just now"):
        await tenants.remove(OURS, actor="test")
    await settle(tenants, filled)
    await tenants.change(OURS, {"status": "ACTIVE"}, actor="test")
    with pytest.raises(Conflict, match="suspend"):
        await tenants.remove(OURS, actor="test")
    with pytest.raises(NotFound):
        await tenants.remove("nobody", actor="test")
    assert snapshot(filled, tenant_tables(filled) - {"tenants", "audit_log"}) == before


async def test_a_removal_that_was_interrupted_goes_on_where_it_was(tenants: Tenants, filled: Database) -> None:
    await settle(tenants, filled)
    with filled.superuser() as hand:
        hand.execute("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (action <> 'tenant.remove')")
        with pytest.raises(StoreUnavailable):
            await tenants.remove(OURS, actor="test")
        assert rows_of(filled, OURS, {"telemetry", "tenants", "devices"}) == {
            "telemetry": 0,
            "tenants": 1,
            "devices": 2,
        }
        assert (await statement(filled)).balanced, "in between, too"
        hand.execute("ALTER TABLE audit_log DROP CONSTRAINT full_disk")
    await tenants.remove(OURS, actor="test")
    assert set(rows_of(filled, OURS, tenant_tables(filled) - {"audit_log"}).values()) == {0}
    assert (await statement(filled)).balanced


@pytest.mark.parametrize("table", ["telemetry", "quarantine", "quarantine_counts", "accepted_counts"])
async def test_of_a_tenant_at_work_nobody_removes_readings_or_refusals(filled: Database, table: str) -> None:
    judged(filled, "UPDATE tenants SET status = 'SUSPENDED' WHERE tenant_id = %s RETURNING true", OURS)
    with psycopg.connect(filled.dsn("pulse_admin")) as admin:
        gone = admin.execute(f"DELETE FROM {table} RETURNING tenant_id".encode()).fetchall()
        admin.rollback()
    assert {tenant_id for (tenant_id,) in gone} == {OURS}, "neither theirs nor nobody's"


async def test_changes_are_audited_with_old_and_new_and_suspending_twice_keeps_the_time(
    tenants: Tenants, filled: Database
) -> None:
    assert (await tenants.change(OURS, {}, actor="somebody"))["stale_on_disconnect"] == "never"
    chosen = await tenants.change(OURS, {"stale_on_disconnect": "lost"}, actor="somebody")
    assert chosen["stale_on_disconnect"] == "lost"
    changed = await tenants.change(OURS, {"name": "Ours", "stale_after_s": 60.0}, actor="me")
    assert (changed["name"], changed["stale_after_s"], changed["status"]) == ("Ours", 60.0, "ACTIVE")
    first = await tenants.change(OURS, SUSPEND, actor="me")
    assert first["suspended_at"]
    assert await tenants.change(OURS, SUSPEND, actor="me") == first
    resumed = await tenants.change(OURS, {"status": "ACTIVE", "stale_after_s": None}, actor="me")
    assert (resumed["suspended_at"], resumed["stale_after_s"], resumed["name"]) == (None, None, "Ours")
    said = judged(filled, "SELECT details FROM audit_log WHERE action = 'tenant.change' AND actor = 'me' ORDER BY at")
    assert [details for (details,) in said] == [
        {"name": {"old": "", "new": "Ours"}, "stale_after_s": {"old": None, "new": 60}},
        {"status": {"old": "ACTIVE", "new": "SUSPENDED"}},
        {},
        {"stale_after_s": {"old": 60, "new": None}, "status": {"old": "SUSPENDED", "new": "ACTIVE"}},
    ]
    with pytest.raises(NotFound):
        await tenants.change("nobody", SUSPEND, actor="me")


async def test_who_caches_devices_is_told_at_commit(tenants: Tenants, filled: Database) -> None:
    heard: list[Any] = []
    connection = await asyncpg.connect(filled.dsn("pulse_pipeline"))
    await connection.add_listener("pulse_devices", lambda *said: heard.append(said[3]))
    await tenants.change(OURS, SUSPEND, actor="test")
    await connection.execute("SELECT 1")
    await connection.close()
    assert heard == [f"{OURS}/"]
