"""The operators' figures: devices by status without a join, tenants with the worst first, what the database knows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.errors import PermanentFailure
from pulse_core.records import PARTITIONS
from pulse_postgres.device_counts import device_counts
from pulse_postgres.devices import STATUS
from pulse_postgres.intake import PostgresIntake, intake_history, intake_now
from pulse_postgres.platform import platform_now
from pulse_postgres.pool import open_pool
from pulse_postgres.tenant_health import all_tenants, page_of
from support.batches import ALL, lane_stores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from support.database import Database

# Every status that is recorded, of devices that are revoked and that are not, in time and overdue.
_FLEET = """
    INSERT INTO tenants (tenant_id) VALUES ('calm'), ('loud'), ('void');
    INSERT INTO devices (tenant_id, device_id, site_id, revoked_at)
        SELECT t, s || '-' || u || '-' || r, 's', CASE WHEN r = 1 THEN now() END
        FROM unnest(ARRAY['calm', 'loud']) t, unnest(ARRAY['ONLINE', 'STALE', 'UNKNOWN', 'REVOKED', 'none']) s,
             generate_series(0, 2) u, generate_series(0, 1) r;
    INSERT INTO device_state (tenant_id, device_id, status, status_since, status_until)
        SELECT tenant_id, device_id, split_part(device_id, '-', 1), now(),
               CASE split_part(device_id, '-', 2) WHEN '0' THEN NULL WHEN '1' THEN now() + interval '1 h'
                    ELSE now() - interval '1 h' END
        FROM devices WHERE device_id NOT LIKE 'none%' AND NOT (device_id LIKE 'REVOKED%' AND revoked_at IS NULL);
"""


@pytest.fixture
async def operator(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    with database.superuser() as hand:
        hand.execute(_FLEET)
    pool = await open_pool(database.dsn("pulse_operator"), name="web (pulse_operator)", max_size=2)
    yield pool
    await pool.close()


def do(database: Database, query: str, *arguments: Any) -> None:
    with database.superuser() as hand:
        hand.execute(query.encode(), arguments or None)


async def test_devices_are_counted_as_their_lists_show_them(operator: asyncpg.Pool[Any]) -> None:
    rows = await operator.fetch(
        f"SELECT tenant_id, {STATUS} AS status, count(*) FROM devices d"
        " LEFT JOIN device_state s USING (tenant_id, device_id) GROUP BY 1, 2"
    )
    wanted = {(row[0], row[1]): row[2] for row in rows}
    assert len(wanted) == 8, "the control: every status is there"
    found = await device_counts(operator)
    assert {(tenant, status): n for tenant, of in found.items() for status, n in of.items()} == wanted
    assert await device_counts(operator, "loud") == {"loud": found["loud"]}
    assert await device_counts(operator, "void") == {}


async def test_the_worst_comes_first(operator: asyncpg.Pool[Any], database: Database) -> None:
    assert [each["tenant_id"] for each in await all_tenants(operator)] == ["calm", "loud", "void"]
    raised = (
        "INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity,"
        " confidence, summary, opened_at)"
        " VALUES ('loud', gen_random_uuid(), 'STALE-0-0', 's', 't', %s, %s, %s, 1, '', now())"
    )
    do(database, raised, "a", "OPEN", 4)
    do(database, raised, "b", "ACKNOWLEDGED", 2)
    do(database, raised, "c", "CLOSED", 5)
    do(
        database,
        "INSERT INTO quarantine_counts"
        " VALUES ('calm', now(), 'r', 0, 10), ('calm', now() - interval '9 min', 'r', 0, 99)",
    )
    first, second, third = await all_tenants(operator)
    assert [each["tenant_id"] for each in (first, second, third)] == ["loud", "calm", "void"]
    assert first["alerts"] == {"CRITICAL": 0, "MAJOR": 1, "WARNING": 0, "NOTICE": 1, "INFO": 0}
    assert (second["rejected_per_min"], third["devices"]["ONLINE"]) == (2.0, 0)


async def test_deliveries_that_wait_and_fail(operator: asyncpg.Pool[Any], database: Database) -> None:
    do(database, "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
                 " VALUES ('void', gen_random_uuid(), 'webhook', 'w', '{}')")  # fmt: skip
    sent = (
        "INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, notification, due_at, status,"
        " created_at) SELECT 'void', gen_random_uuid(), integration_id, 'OPEN', 'test', '{}', now() - interval '90 s',"
        " %s, now() - %s * interval '1 hour' FROM integrations"
    )
    for status, hours in (
        ("PENDING", 1),
        ("SENDING", 1),
        ("RETRYING", 30),
        ("DEAD", 23),
        ("DEAD", 25),
        ("DELIVERED", 1),
    ):
        do(database, sent, status, hours)
    first = (await all_tenants(operator))[0]
    assert (first["tenant_id"], first["waiting"], first["retrying"], first["dead"]) == ("void", 3, 1, 1)
    assert 90 <= (await platform_now(operator))["overdue_s"] < 600


async def test_pages_miss_nothing(operator: asyncpg.Pool[Any]) -> None:
    tenants = await all_tenants(operator)
    seen, cursor = [], None
    while True:
        page = page_of(tenants, 1, cursor)
        seen += [each["tenant_id"] for each in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == ["calm", "loud", "void"]
    for wrong in ("x", "WzFd"):
        with pytest.raises(PermanentFailure):
            page_of(tenants, 1, wrong)


async def test_what_came_in_lately_and_within_a_day(operator: asyncpg.Pool[Any], database: Database) -> None:
    assert await intake_now(operator) == {
        "accepted_per_min": 0, "rejected_per_min": 0, "slowest_ms": None, "last_at": None
    }  # fmt: skip
    put = "INSERT INTO intake_minutes SELECT date_trunc('minute', now()) - %s * interval '1 minute', %s, %s, %s, %s"
    for row in (
        (0, 0, 7, 0, 9000),
        (1, 0, 50, 5, 1000),
        (1, 1, 50, 0, 2500),
        (6, 0, 999, 999, 999_000),
        (1500, 0, 1, 1, 1),
    ):
        do(database, put, *row)
    now = await intake_now(operator)
    assert now["slowest_ms"] == 9.0
    assert 107 / 6 <= now["accepted_per_min"] <= 107 / 5, "five minutes, and the one that runs"
    assert 5 / 6 <= now["rejected_per_min"] <= 5 / 5
    assert dt.datetime.now(dt.UTC) - now["last_at"] < dt.timedelta(minutes=2)
    history = await intake_history(operator)
    assert len(history) == 96
    assert (sum(each["accepted"] for each in history), sum(each["rejected"] for each in history)) == (1106, 1004)
    assert [each["at"] for each in history] == sorted(each["at"] for each in history)


async def test_minutes_are_forgotten_after_two_days(operator: asyncpg.Pool[Any], database: Database) -> None:
    do(
        database,
        "INSERT INTO intake_minutes SELECT now() - d * interval '1 day', 0, 1, 0, 0 FROM generate_series(0, 4) d",
    )
    pipeline = await open_pool(database.dsn("pulse_pipeline"), name="test", max_size=1)
    try:
        assert await PostgresIntake(pipeline).drop_before(0) == 3
    finally:
        await pipeline.close()
    assert await operator.fetchval("SELECT count(*) FROM intake_minutes") == 2


async def test_what_the_database_knows_of_who_works_with_it(operator: asyncpg.Pool[Any], database: Database) -> None:
    before = await platform_now(operator)
    assert (before["served"], before["partitions"], before["roles"]["pipeline"]) == (0, PARTITIONS, 0)
    assert before["roles"]["web"] >= 1
    assert before["database"]["size_bytes"] > 1_000_000
    assert 1 <= before["database"]["connections"] <= before["database"]["max_connections"]
    pool = await open_pool(database.dsn("pulse_pipeline"), name="pipeline (pulse_pipeline)", max_size=1)
    try:
        async with lane_stores(database) as stores:
            lane = await stores.open(0, ALL)
            found = await platform_now(operator)
            assert (found["served"], found["roles"]["pipeline"]) == (len(ALL), 1)
            await lane.close()
    finally:
        await pool.close()
