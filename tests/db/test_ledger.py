"""The ledger balances whatever the product does, and not when anything is done behind its back."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from pulse_core.api import PluginConfig
from pulse_core.errors import StoreUnavailable
from pulse_core.records import PARTITIONS, WriteSet, partition_of
from pulse_postgres import ledger_lines
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support.batches import ALL, NOW_US, alert, integrate, judged, lane_stores, reading, register, state, step
from support.books import DAY_US, fill, ledger, line, statement, told

if TYPE_CHECKING:
    import uuid

    from pulse_core.ledger import Statement
    from support.database import Database

DEVICES = ("tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1")
NAMES = ("readings", "decisions", "causes", "deliveries")
TODAY = dt.datetime.fromtimestamp(NOW_US // 1_000_000, dt.UTC).date()

_TEST = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, notification, due_at)
    SELECT tenant_id, gen_random_uuid(), integration_id, 'OPEN', 'test', '{}', now() FROM integrations LIMIT 1
    RETURNING delivery_id
"""
_REPLAY = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, caused_by,
                            notification, due_at)
    SELECT tenant_id, gen_random_uuid(), integration_id, alert_id, route_id, event, 'replay', delivery_id, '{}', now()
    FROM deliveries WHERE cause = 'alert' ORDER BY delivery_id LIMIT 1 RETURNING caused_by
"""


def meddle(database: Database, *statements: str) -> list[tuple[Any, ...]]:
    """What nobody of ours does: as superuser, past foreign keys and triggers. Returns the last one's rows."""
    with database.superuser() as hand:
        hand.execute("SET session_replication_role = replica")
        for each in statements[:-1]:
            hand.execute(each)
        return hand.execute(statements[-1]).fetchall()


def only(found: Statement, name: str, difference: int) -> list[dict[str, Any]]:
    """The one line that differs, by so much; its examples."""
    assert {each.name: each.difference for each in found.lines if each.difference} == {name: difference}
    assert not found.balanced
    return list(line(found, name).examples)


async def test_the_books_of_an_empty_database_balance(database: Database) -> None:
    found = await statement(database)
    assert [(each.name, each.difference) for each in found.lines] == [(name, 0) for name in NAMES]
    assert found.balanced


async def test_what_happened_is_stated_on_both_sides(database: Database) -> None:
    await fill(database, *DEVICES)
    judged(database, _TEST)
    judged(database, _REPLAY)
    judged(database, "UPDATE deliveries SET status = 'DEAD' WHERE cause = 'test' RETURNING true")
    found = await statement(database)
    assert found.balanced
    assert [(each.left, each.right) for each in found.lines] == [
        ({"accepted": 18}, {"stored": 18, "expired": 0}),
        ({"matched": 12}, {"primary": 12}),
        ({"other": 2}, {"caused": 2}),
        ({"deliveries": 14}, {"delivered": 0, "pending": 13, "dead": 1, "cancelled": 0}),
    ]
    assert {(day.day, day.accepted, day.stored) for day in found.days if day.accepted} == {
        (TODAY - dt.timedelta(days=number), 6, 6) for number in range(3)
    }


async def test_a_reading_that_vanished_is_missed_on_its_day(database: Database) -> None:
    await fill(database, *DEVICES)
    meddle(database, "DELETE FROM telemetry WHERE ctid = (SELECT max(ctid) FROM ONLY telemetry) RETURNING 1")
    meddle(
        database,
        "DELETE FROM telemetry WHERE tenant_id = 'tenant-b' AND ts < now() - interval '1 day 12 hours' RETURNING 1",
    )
    (example,) = only(await statement(database), "readings", 2)
    assert example == {"day": TODAY - dt.timedelta(days=2), "accepted": 6, "stored": 4, "expired": 0}


async def test_a_reading_too_many_never_hides_one_too_few(database: Database) -> None:
    await fill(database, *DEVICES)
    moved = "UPDATE telemetry SET ts = ts - interval '1 day', key_hash = 1 WHERE device_id = 'dev-2' RETURNING 1"
    count = len(meddle(database, f"SELECT ensure_telemetry_day('{TODAY - dt.timedelta(days=3)}')", moved))
    found = await statement(database)
    assert count == 6
    assert line(found, "readings").left["accepted"] == line(found, "readings").right["stored"]
    assert len(only(found, "readings", 4)) == 2


_FIRST_CHANGE = "WHERE ctid = (SELECT min(ctid) FROM alert_changes) RETURNING alert_id"
_DOUBLE = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, notification,
                            due_at)
    SELECT tenant_id, gen_random_uuid(), integration_id, alert_id, route_id, event, cause, '{}', now() FROM deliveries
    LIMIT 1 RETURNING alert_id
"""
_OF_NO_ALERT = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, notification, due_at)
    SELECT tenant_id, gen_random_uuid(), integration_id, event, 'alert', '{}', now() FROM deliveries
    LIMIT 1 RETURNING alert_id
"""
DEEDS = {
    "deleted": ("DELETE FROM deliveries WHERE ctid = (SELECT min(ctid) FROM deliveries) RETURNING alert_id", "missing"),
    "decided later": (
        f"UPDATE alert_changes SET decisions = jsonb_set(decisions, '{{2,matched}}', 'true') {_FIRST_CHANGE}",
        "missing",
    ),
    "decided twice": (f"UPDATE alert_changes SET decisions = decisions || (decisions -> 0) {_FIRST_CHANGE}", "missing"),
    "undecided": (
        f"UPDATE alert_changes SET decisions = jsonb_set(decisions, '{{1,matched}}', 'false') {_FIRST_CHANGE}",
        "not decided",
    ),
    "doubled": (_DOUBLE, "more than one"),
    "of no alert": (_OF_NO_ALERT, "not decided"),
}


@pytest.mark.parametrize(("deed", "problem"), DEEDS.values(), ids=DEEDS)
async def test_a_decision_and_its_delivery_go_together(deed: str, problem: str, database: Database) -> None:
    await fill(database, *DEVICES)
    ((alert_id,),) = meddle(database, "DROP INDEX deliveries_one_primary", deed)
    (example,) = only(await statement(database), "decisions", 1)
    assert (example["problem"], example["alert_id"]) == (problem, alert_id)


async def test_a_change_that_vanished_leaves_its_deliveries_undecided(database: Database) -> None:
    await fill(database, *DEVICES)
    ((alert_id,),) = meddle(
        database, "DELETE FROM alert_changes WHERE ctid = (SELECT min(ctid) FROM alert_changes) RETURNING alert_id"
    )
    examples = only(await statement(database), "decisions", 2)
    assert {(each["alert_id"], each["problem"]) for each in examples} == {(alert_id, "not decided")}
    assert all(each["delivery_ids"] for each in examples)


async def test_of_many_errors_ten_are_named(database: Database) -> None:
    await fill(database, *DEVICES)
    meddle(database, "DELETE FROM deliveries RETURNING 1")
    assert len(only(await statement(database), "decisions", 12)) == 10


@pytest.mark.parametrize(
    "deed",
    [
        "DELETE FROM deliveries WHERE delivery_id IN (SELECT caused_by FROM deliveries) RETURNING 1",
        "UPDATE deliveries SET alert_id = gen_random_uuid() WHERE cause = 'replay' RETURNING 1",
        "UPDATE deliveries SET cause = 'test' WHERE cause = 'replay' RETURNING 1",
        "UPDATE deliveries SET cause = 'repeat', alert_id = NULL WHERE cause = 'replay' RETURNING 1",
        "UPDATE deliveries SET cause = 'whim', alert_id = NULL WHERE cause = 'replay' RETURNING 1",
    ],
    ids=["cause deleted", "another alert's", "a test of an alert", "a repeat of nothing", "no cause we know"],
)
async def test_every_other_delivery_has_a_cause(deed: str, database: Database) -> None:
    await fill(database, *DEVICES)
    judged(database, _REPLAY)
    judged(database, _TEST)
    checks = "ALTER TABLE deliveries DROP CONSTRAINT deliveries_cause_check, DROP CONSTRAINT deliveries_check"
    meddle(database, checks, deed)
    found = await statement(database)
    assert line(found, "causes").difference == 1
    ((delivery_id,),) = judged(
        database, "SELECT delivery_id FROM deliveries WHERE cause <> 'alert' ORDER BY due_at LIMIT 1"
    )
    (example,) = line(found, "causes").examples
    assert example["delivery_id"] == delivery_id


async def test_a_delivery_in_no_state_that_we_know_is_missed(database: Database) -> None:
    await fill(database, *DEVICES)
    ((delivery_id,),) = meddle(
        database,
        "ALTER TABLE deliveries DROP CONSTRAINT deliveries_status_check",
        "UPDATE deliveries SET status = 'LOST' WHERE ctid = (SELECT min(ctid) FROM deliveries) RETURNING delivery_id",
    )
    (example,) = only(await statement(database), "deliveries", 1)
    assert (example["delivery_id"], example["status"]) == (delivery_id, "LOST")


async def drop_before(database: Database, moment_us: int) -> int:
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test")
    try:
        store = PostgresTelemetryStore(PluginConfig())
        await store.open(pool)
        return await store.drop_before(moment_us)
    finally:
        await pool.close()


async def test_days_that_retention_dropped_are_expired(database: Database) -> None:
    await fill(database, *DEVICES)
    assert await drop_before(database, NOW_US - DAY_US) == 1
    found = await statement(database)
    assert found.balanced
    assert line(found, "readings").right == {"stored": 12, "expired": 6}
    await fill(database, "tenant-c/dev-1")
    found = await statement(database)
    assert found.balanced, "the dropped day was made again"
    assert line(found, "readings").right == {"stored": 18, "expired": 6}


async def test_what_retention_does_not_note_is_missed(database: Database) -> None:
    await fill(database, *DEVICES)
    await drop_before(database, NOW_US - DAY_US)
    meddle(database, "UPDATE readings_expired SET expired = expired - 1 RETURNING 1")
    only(await statement(database), "readings", 1)


async def test_batches_committed_again_and_repeats_change_nothing(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    integration_id, opened = integrate(database), alert()
    change, (decision,) = step(opened)
    batch = WriteSet(
        readings=[reading()],
        states=[state()],
        changes=[(change, (decision,))],
        deliveries=[
            each
            for each in told(opened, integration_id, change.event, "tenant-a")
            if each.route_id == decision.route_id
        ],
    )
    async with lane_stores(database) as stores:
        lane = await stores.open(0, ALL)
        for _ in range(3):
            await lane.commit(batch)
        await lane.close()
    found = await statement(database)
    assert found.balanced
    assert (line(found, "readings").left, line(found, "decisions").left) == ({"accepted": 1}, {"matched": 1})


@pytest.mark.parametrize(
    "deed",
    [
        "DELETE FROM devices WHERE device_id = 'dev-1' RETURNING 1",
        "DELETE FROM tenants WHERE tenant_id = 'tenant-a' RETURNING 1",
    ],
    ids=["devices", "a tenant"],
)
async def test_deleting_takes_both_sides(deed: str, database: Database) -> None:
    await fill(database, *DEVICES)
    judged(database, _REPLAY)
    judged(database, deed)
    found = await statement(database)
    assert found.balanced
    assert 0 < line(found, "decisions").left["matched"] < 12
    assert line(found, "readings").right["stored"] == 18, "readings hang on nothing"


async def keep_committing(lane: Any, names: list[str], integration_id: uuid.UUID, stop: asyncio.Event) -> None:
    """Readings of two days, alerts and deliveries, as fast as it goes."""
    number = 0
    while not stop.is_set():
        number += 1
        name = names[number % len(names)]
        what = alert(name, fingerprint=f"{name} {number}")
        change, decisions = step(what, name=name)
        writes = WriteSet(
            readings=[reading(name, ts_us=NOW_US - number - days * DAY_US) for days in range(2)],
            states=[state(name)],
            changes=[(change, decisions)],
            deliveries=told(what, integration_id, change.event, "tenant-a")[:1],
        )
        await lane.commit(writes)
    await lane.close()


async def test_counts_fit_while_lanes_commit_and_days_are_dropped(database: Database) -> None:
    """Each statement is of one moment, however long it takes to make."""
    names = [f"tenant-a/dev-{number}" for number in range(16)]
    await fill(database, *names, days=20)
    integration_id, stop, found = integrate(database), asyncio.Event(), []
    async with lane_stores(database) as stores, ledger(database) as books, asyncio.TaskGroup() as running:
        for shard in range(2):
            lane = await stores.open(shard, range(shard, PARTITIONS, 2))
            mine = [name for name in names if partition_of(*name.split("/")) % 2 == shard]
            running.create_task(keep_committing(lane, mine, integration_id, stop))
        for old in range(18, 2, -1):
            dropping = asyncio.create_task(drop_before(database, NOW_US - old * DAY_US))
            found += [await books.check(), await books.check()]
            assert await dropping == 1
        stop.set()
    assert [each.lines for each in found if not each.balanced] == []
    accepted = [line(each, "readings").left["accepted"] for each in found]
    assert accepted == sorted(accepted)
    assert accepted[-1] > accepted[0]


async def test_readings_that_are_kept_elsewhere_are_not_compared(database: Database) -> None:
    await fill(database, *DEVICES)
    meddle(database, "DELETE FROM telemetry RETURNING 1")
    async with ledger(database, readings_kept=False) as books:
        found = await books.check()
    assert found.balanced
    assert line(found, "readings").note == "not kept in these tables"


async def test_a_check_that_takes_too_long_ends(database: Database) -> None:
    await fill(database, *DEVICES)
    with database.superuser() as hand, hand.transaction():
        hand.execute("LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
        async with ledger(database) as books:
            with pytest.raises(StoreUnavailable):
                await books.check(patience_s=1)


async def test_retention_waits_for_a_check_and_no_lane_waits_for_either(database: Database) -> None:
    await fill(database, *DEVICES)
    async with lane_stores(database) as stores, ledger(database) as books:
        lane = await stores.open(0, ALL)
        with database.superuser() as check:
            check.execute("SELECT pg_advisory_lock_shared(hashtext('drop_telemetry'))")
            dropping = asyncio.create_task(drop_before(database, NOW_US - DAY_US))
            for number in range(5):
                await asyncio.wait_for(lane.commit(WriteSet(readings=[reading(ts_us=NOW_US + number + 9)])), 2)
            assert not dropping.done()
        assert await dropping == 1
        assert (await books.check()).balanced
        assert await drop_before(database, NOW_US) == 1, "a check that is over holds nothing up"
        await lane.close()


async def test_counting_a_day_touches_that_day_alone(database: Database) -> None:
    await fill(database, *DEVICES, days=5)
    connection = await asyncpg.connect(database.dsn("pulse_operator"), server_settings={"timezone": "UTC"})
    day = dt.datetime.combine(TODAY - dt.timedelta(days=3), dt.time(), dt.UTC)
    plan = await connection.fetch(f"EXPLAIN {ledger_lines._STORED}", day, day + dt.timedelta(days=1))
    await connection.close()
    assert {part for row in plan for part in re.findall(r"telemetry_\d{8}", row[0])} == {f"telemetry_{day:%Y%m%d}"}
