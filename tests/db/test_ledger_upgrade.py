"""What was there before the ledger began balances, too; and how days leave it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psycopg
import pytest

from pulse_core.api import PluginConfig, ReadingKey
from pulse_postgres.migrate import migrate, migrations_dir
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support.batches import NOW_US, judged, key
from support.books import fill, line, statement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.database import Database, PostgresServer

# As the first version left it: two integrations with a route each that matched, a third that did not match, and one
# that was deleted since, with its route and its deliveries.
_BEFORE = """
    INSERT INTO tenants (tenant_id) VALUES ('tenant-a');
    INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('tenant-a', 'dev-1', 's');
    SELECT ensure_telemetry_day(day) FROM (VALUES (date '2026-01-02'), ('2026-01-03')) AS x (day);
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, metrics)
        SELECT 'tenant-a', 'dev-1', '2026-01-02 23:59:55Z'::timestamptz + n * interval '1 s', n, now(), 'event', 's',
               '{}' FROM generate_series(1, 10) n;
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
                        summary, opened_at)
        SELECT 'tenant-a', lpad(n::text, 32, '0')::uuid, 'dev-1', 's', 'T', n::text, 'OPEN', 3, 1, '', now()
        FROM generate_series(1, 5) n;
    INSERT INTO integrations (tenant_id, integration_id, type, name, config)
        SELECT 'tenant-a', lpad(n::text, 32, '0')::uuid, 'webhook', 'w', '{}' FROM generate_series(1, 3) n;
    INSERT INTO alert_changes (tenant_id, alert_id, event, changed_at, decisions)
        SELECT 'tenant-a', alert_id, 'OPEN', now(),
            (SELECT jsonb_agg(jsonb_build_object('route_id', lpad(n::text, 32, '0')::uuid, 'matched', n <= 3, 'failed',
                CASE WHEN n > 3 THEN 'deliver_on' END) ORDER BY n) FROM generate_series(1, 4) n)
        FROM alerts;
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, notification,
                            due_at)
        SELECT 'tenant-a', gen_random_uuid(), integration_id, alert_id, integration_id, 'OPEN', 'alert', '{}', now()
        FROM alerts, integrations;
    DELETE FROM integrations WHERE integration_id = lpad('3', 32, '0')::uuid
"""


@pytest.fixture
def upgraded(postgres: PostgresServer, tmp_path: Path) -> Iterator[Database]:
    """Filled at the first version, then brought up to date."""
    first = tmp_path / "migrations"
    first.mkdir()
    for path in migrations_dir().glob("0001*"):
        shutil.copy(path, first)
    made = postgres.empty()
    migrate(made.url, made.secret_key, directory=first)
    with made.superuser() as hand:
        hand.execute(_BEFORE)
    migrate(made.url, made.secret_key)
    yield made
    made.drop()


async def test_what_was_there_before_balances(upgraded: Database) -> None:
    found = await statement(upgraded)
    assert found.balanced, found
    assert line(found, "readings").left == {"accepted": 10}
    assert line(found, "decisions").left == {"matched": 10}, "not those whose deliveries went with their integration"
    assert sorted(day.stored for day in found.days) == [4, 6]


async def test_what_is_lost_after_the_upgrade_is_missed(upgraded: Database) -> None:
    judged(upgraded, "DELETE FROM deliveries WHERE ctid = (SELECT min(ctid) FROM deliveries) RETURNING 1")
    judged(upgraded, "DELETE FROM telemetry WHERE key_hash = 1 RETURNING 1")
    found = await statement(upgraded)
    assert [each.difference for each in found.lines] == [1, 1, 0, 0]


async def test_history_is_not_rewritten_by_the_upgrade(upgraded: Database) -> None:
    """It did match then, and it is said why its delivery is gone."""
    rows = judged(upgraded, "SELECT decisions FROM alert_changes")
    assert [[(each["matched"], each.get("forgotten")) for each in decisions] for (decisions,) in rows] == [
        [(True, None), (True, None), (True, True), (False, None)]
    ] * 5


async def test_the_books_go_on_after_the_upgrade(upgraded: Database) -> None:
    await fill(upgraded, "tenant-b/dev-1")
    found = await statement(upgraded)
    assert found.balanced
    assert line(found, "readings").left == {"accepted": 16}


async def test_a_look_up_does_not_wait_while_an_old_day_is_counted(database: Database) -> None:
    await fill(database, "tenant-a/dev-1")
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test")
    store = PostgresTelemetryStore(PluginConfig())
    await store.open(pool)
    with psycopg.connect(database.dsn("pulse_pipeline")) as retention:
        retention.execute("SELECT hold_telemetry_day(min(day)) FROM readings_accepted")
        await pool.execute("SET lock_timeout = '1s'")
        assert await store.known([ReadingKey(key(), NOW_US, NOW_US)]) == {0}
        waiting = "SELECT 1 FROM telemetry WHERE device_id = 'dev-1' LIMIT 1"
        assert await pool.fetchval(waiting, timeout=5) == 1
    await pool.close()
