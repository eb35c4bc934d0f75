"""What a batch is counted as, once: readings by the day of their ts, and refusals beside them."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.api import PluginConfig
from pulse_core.records import Decision, Reason, Reject, WriteSet
from pulse_postgres.lanes import PostgresLaneStores
from pulse_postgres.sqltime import DAY_US
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support.batches import ALL, NOW_US, alert, delivery, integrate, judged, lane_stores, reading, register, state, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_postgres.lanes import PostgresLane
    from support.database import Database

TODAY = dt.datetime.fromtimestamp(NOW_US // 1_000_000, dt.UTC).date()
MIDNIGHT_US = NOW_US // DAY_US * DAY_US
REFUSED = Reject("tenant-a", "dev-1", Reason.INVALID_FIELD, "", "a/topic", NOW_US)


@pytest.fixture
async def lane(database: Database) -> AsyncIterator[PostgresLane]:
    register(database, "tenant-a/dev-1")
    async with lane_stores(database) as stores:
        opened = await stores.open(3, ALL)
        yield opened
        await opened.close()


def accepted(database: Database) -> dict[tuple[Any, ...], int]:
    return {tuple(row[:2]): row[2] for row in judged(database, "SELECT day, shard, accepted FROM readings_accepted")}


def by_minute(database: Database) -> list[tuple[Any, ...]]:
    found = "SELECT tenant_id, minute, shard, accepted FROM accepted_counts ORDER BY 1, 2"
    return judged(database, found)


def refused(database: Database) -> list[tuple[Any, ...]]:
    return judged(database, "SELECT sum(rejected)::integer FROM quarantine_counts")


async def test_readings_are_counted_by_the_utc_day_of_their_ts(lane: PostgresLane, database: Database) -> None:
    readings = [reading(ts_us=moment) for moment in (MIDNIGHT_US - 1, MIDNIGHT_US, MIDNIGHT_US + 1)]
    await lane.commit(WriteSet(readings=readings))
    await lane.commit(WriteSet(readings=[reading(ts_us=MIDNIGHT_US + 2)]))
    assert accepted(database) == {(TODAY - dt.timedelta(days=1), 3): 1, (TODAY, 3): 3}


async def test_readings_are_counted_by_the_minute_in_which_they_came(lane: PostgresLane, database: Database) -> None:
    """Of each tenant, whatever their ts is."""
    minute = NOW_US // 60_000_000 * 60_000_000
    came = [("tenant-a", minute - 1), ("tenant-a", minute), ("tenant-a", minute + 59_999_999), ("tenant-b", minute)]
    register(database, "tenant-b/dev-1")
    await lane.commit(
        WriteSet(
            readings=[
                reading(f"{whose}/dev-1", ts_us=MIDNIGHT_US + n, received_us=at) for n, (whose, at) in enumerate(came)
            ]
        )
    )
    await lane.commit(WriteSet(readings=[reading(received_us=minute)]))
    moment = dt.datetime.fromtimestamp(minute // 1_000_000, dt.UTC)
    assert by_minute(database) == [
        ("tenant-a", moment - dt.timedelta(minutes=1), 3, 1),
        ("tenant-a", moment, 3, 3),
        ("tenant-b", moment, 3, 1),
    ]


async def test_a_batch_that_is_committed_twice_counts_once(lane: PostgresLane, database: Database) -> None:
    """The outcome of a COMMIT may be unknown: then the same batch is written again."""
    batch = WriteSet(readings=[reading()], states=[state()], rejects=[msgspec.structs.replace(REFUSED, raw=b"x")])
    for _ in range(3):
        await lane.commit(batch)
    assert accepted(database) == {(TODAY, 3): 1}
    assert [row[3] for row in by_minute(database)] == [1]
    assert refused(database) == [(1,)]
    assert len(judged(database, "SELECT FROM quarantine")) == 1


async def test_what_is_refused_is_counted_beside_it_or_alone(lane: PostgresLane, database: Database) -> None:
    await lane.commit(WriteSet(rejects=[REFUSED]))
    assert accepted(database) == {}
    await lane.commit(WriteSet(readings=[reading()], rejects=[REFUSED, REFUSED]))
    assert (accepted(database), refused(database)) == ({(TODAY, 3): 1}, [(3,)])


async def test_a_batch_that_fails_counts_nothing(lane: PostgresLane, database: Database) -> None:
    with pytest.raises(Exception, match=r"\\u0000"):
        await lane.commit(WriteSet(readings=[reading()], states=[state(memory={"x": "\x00"})]))
    assert accepted(database) == {}


async def test_the_count_is_what_the_pipeline_decided_and_not_what_the_insert_answered(
    lane: PostgresLane, database: Database
) -> None:
    """A reading that vanishes on its way into the table must be missed."""
    await lane.commit(WriteSet(readings=[reading()]))
    await lane.commit(WriteSet(readings=[reading()]))
    assert len(judged(database, "SELECT FROM telemetry")) == 1
    assert accepted(database) == {(TODAY, 3): 2}


class Elsewhere(PostgresTelemetryStore):
    """A store that does not share the transaction."""

    transactional = False

    async def prepare(self, readings: object) -> None:
        """Nothing."""

    async def write(self, readings: object, transaction: object) -> None:
        """Nothing."""


async def test_readings_that_are_kept_elsewhere_are_not_counted_here(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    lane = await PostgresLaneStores(database.dsn("pulse_pipeline"), Elsewhere(PluginConfig())).open(0, ALL)
    await lane.commit(WriteSet(readings=[reading()], rejects=[REFUSED]))
    await lane.close()
    assert (accepted(database), refused(database)) == ({}, [(1,)])


async def test_a_decision_whose_integration_vanished_did_not_match(lane: PostgresLane, database: Database) -> None:
    """Else it would stand there for ever as matched, and nobody was ever to be told."""
    gone, there, opened = integrate(database), integrate(database), alert()
    change, (matched,) = step(opened)
    other = Decision(uuid.UUID(int=2), matched=True)
    told = [delivery(opened, gone), msgspec.structs.replace(delivery(opened, there), route_id=other.route_id)]
    judged(database, "DELETE FROM integrations WHERE integration_id = %s RETURNING true", gone)
    await lane.commit(WriteSet(states=[state()], changes=[(change, (matched, other))], deliveries=told))
    ((decisions,),) = judged(database, "SELECT decisions FROM alert_changes")
    assert [(each["matched"], each["failed"]) for each in decisions] == [(False, "integration_deleted"), (True, None)]
    assert judged(database, "SELECT route_id FROM deliveries") == [(other.route_id,)]


async def test_what_came_in_a_minute_is_counted_once_with_the_slowest(lane: PostgresLane, database: Database) -> None:
    now_us = time.time_ns() // 1000
    late = msgspec.structs.replace(reading(), received_us=now_us - 3_000_000)
    batch = WriteSet(
        readings=[late, reading(ts_us=NOW_US + 1)], rejects=[msgspec.structs.replace(REFUSED, received_us=now_us)]
    )
    for each in (batch, batch, WriteSet(rejects=[msgspec.structs.replace(REFUSED, received_us=now_us)]), WriteSet()):
        await lane.commit(each)
    look = "SELECT sum(accepted)::int, sum(rejected)::int, max(slowest_us), bool_and(shard = 3) FROM intake_minutes"
    ((accepted_, rejected, slowest_us, ours),) = judged(database, look)
    assert (accepted_, rejected, ours) == (2, 2, True)
    assert slowest_us >= 3_000_000
