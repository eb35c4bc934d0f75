"""Retention: readings and refusals older than the operator's setting go, younger ones stay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pulse_core.errors import StoreUnavailable
from pulse_core.settings import Settings
from pulse_postgres.commands import PostgresCommands
from pulse_postgres.pool import open_pool
from pulse_postgres.refusals import PostgresRefusals
from pulse_server.retention import Retention
from support import two_tenants
from support.batches import judged, register
from support.memory import START_US, MemorySettings

if TYPE_CHECKING:
    from support.database import Database

DAY_US = 86_400_000_000

_FILL = """
    INSERT INTO quarantine_counts (tenant_id, minute, reason, shard, rejected)
    SELECT '', to_timestamp($1::float8 / 1e6) - n * interval '1 day', 'TOKEN_INVALID', 0, 1
    FROM generate_series(0, 9) AS n
"""
_KEEP = """
    INSERT INTO quarantine (tenant_id, reject_id, received_at, reason)
    SELECT '', gen_random_uuid(), to_timestamp($1::float8 / 1e6) - n * interval '1 day', 'TOKEN_INVALID'
    FROM generate_series(0, 9) AS n
"""


class Remembering:
    """A store that notes what it was told to forget."""

    def __init__(self) -> None:
        self.cutoffs: list[int] = []

    async def drop_before(self, cutoff_us: int) -> int:
        self.cutoffs.append(cutoff_us)
        return 2


async def test_what_is_too_old_is_forgotten(database: Database) -> None:
    pool = await open_pool(database.dsn("pulse_pipeline"), name="retention")
    try:
        await pool.execute(_FILL, START_US)
        await pool.execute(_KEEP, START_US)
        store = Remembering()
        retention = Retention([store, PostgresRefusals(pool)], MemorySettings(Settings(TELEMETRY_RETENTION_DAYS=7)))
        assert await retention.once(START_US) == 2 + 2 + 2, "days 8 and 9 of both tables go"
        assert store.cutoffs == [START_US - 7 * DAY_US]
        assert await pool.fetchval("SELECT count(*) FROM quarantine_counts") == 8
        assert await pool.fetchval("SELECT count(*) FROM quarantine") == 8
    finally:
        await pool.close()


class Away:
    """A store that is not there."""

    async def drop_before(self, cutoff_us: int) -> int:
        raise StoreUnavailable(f"away, and so is {cutoff_us}")


async def test_a_store_that_is_away_keeps_no_other_from_forgetting() -> None:
    store = Remembering()
    assert await Retention([Away(), store], MemorySettings(Settings(TELEMETRY_RETENTION_DAYS=7))).once(START_US) == 2
    assert store.cutoffs == [START_US - 7 * DAY_US]


async def test_commands_whose_time_is_over_expire_and_are_forgotten_in_time(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    judged(
        database,
        "INSERT INTO device_commands (tenant_id, device_id, name, payload, created_by, created_at, expires_at, status,"
        " sent_at, way, acknowledged_at, number) SELECT 'tenant-a', 'dev-1', status || age, '{}', 'test',"
        " now() - (age + 1) * interval '1 day', now() - age * interval '1 day', status, sent, 'http', done, 1"
        " FROM unnest(ARRAY['SENT', 'ACKNOWLEDGED', 'EXPIRED'], ARRAY[now(), now(), now()], ARRAY[NULL, now(), NULL])"
        " AS x (status, sent, done), unnest(ARRAY[-1, 1, 9]) AS age RETURNING true",
    )
    pool = await open_pool(database.dsn("pulse_pipeline"), name="retention")
    try:
        commands = PostgresCommands(pool, database.dsn("pulse_pipeline"))
        retention = Retention([commands], MemorySettings(Settings(TELEMETRY_RETENTION_DAYS=7)))
        assert await retention.once(time.time_ns() // 1000) == 3
    finally:
        await pool.close()
    assert judged(database, "SELECT name, status FROM device_commands ORDER BY 1") == [
        ("ACKNOWLEDGED-1", "ACKNOWLEDGED"),
        ("ACKNOWLEDGED1", "ACKNOWLEDGED"),
        ("EXPIRED-1", "EXPIRED"),
        ("EXPIRED1", "EXPIRED"),
        ("SENT-1", "SENT"),
        ("SENT1", "EXPIRED"),
    ]


async def test_what_was_refused_of_a_tenant_that_is_gone_is_forgotten(database: Database) -> None:
    """However young it is: whoever had not heard of the removal yet may have counted it afterwards."""
    two_tenants.fill(database)
    gone, stays = two_tenants.TENANTS
    with database.superuser() as hand:
        hand.execute("DELETE FROM tenants WHERE tenant_id = %s", (gone,))
    pool = await open_pool(database.dsn("pulse_pipeline"), name="retention")
    try:
        assert await PostgresRefusals(pool).drop_before(0) == 3
        for table in ("quarantine", "quarantine_counts", "accepted_counts"):
            left = {row[0] for row in await pool.fetch(f"SELECT tenant_id FROM {table}")}
            assert left - {""} == {stays}
    finally:
        await pool.close()
