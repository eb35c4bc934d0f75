"""A lane whose connection is lost at the worst moment, and who may own its devices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.errors import OwnershipLost, StoreUnavailable
from pulse_core.records import Reason, Reject, WriteSet
from support.batches import (
    ALL,
    NOW_US,
    alert,
    delivery,
    integrate,
    judged,
    lane_stores,
    reading,
    register,
    state,
    step,
)
from support.cutting import CuttingProxy
from support.waiting import until

if TYPE_CHECKING:
    from pulse_postgres.lanes import PostgresLane, PostgresLaneStores
    from support.cutting import Moment
    from support.database import Database

_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pulse lane'"
_WAITING = f"{_BACKENDS} AND starts_with(query, 'SELECT pg_advisory_unlock_all')"


def a_full_batch(database: Database) -> WriteSet:
    integration_id, opened = integrate(database), alert()
    reject = Reject("tenant-a", "dev-1", Reason.MALFORMED_JSON, "", "topic", NOW_US, payload_json="{}", raw=b"{")
    return WriteSet(
        readings=[reading(ts_us=NOW_US + number) for number in range(5)],
        states=[state()],
        changes=[step(opened)],
        deliveries=[delivery(opened, integration_id)],
        rejects=[reject, reject],
    )


def amounts(database: Database) -> dict[str, int]:
    tables = ("telemetry", "device_state", "alerts", "alert_changes", "deliveries", "quarantine")
    found: dict[str, int] = {table: len(judged(database, f"SELECT FROM {table}")) for table in tables}
    ((found["counted"],),) = judged(database, "SELECT COALESCE(sum(rejected), 0) FROM quarantine_counts")
    return found


NOTHING = dict.fromkeys(("telemetry", "device_state", "alerts", "alert_changes", "deliveries", "quarantine"), 0)
ONCE = dict.fromkeys(NOTHING, 1)
NOTHING["counted"] = 0
ONCE.update(telemetry=5, quarantine=2, counted=2)


@pytest.mark.parametrize(("moment", "left"), [("before COMMIT", NOTHING), ("after COMMIT", ONCE)])
async def test_a_batch_of_unknown_outcome_is_there_once(
    moment: Moment, left: dict[str, int], database: Database
) -> None:
    register(database, "tenant-a/dev-1")
    batch = a_full_batch(database)
    async with (
        CuttingProxy(database.dsn("pulse_pipeline")) as proxy,
        lane_stores(database, proxy.dsn) as stores,
    ):
        lane = await stores.open(0, ALL)
        proxy.cut_at = moment
        with pytest.raises(StoreUnavailable):
            await lane.commit(batch)
        assert proxy.cuts == 1
        await until(lambda: not judged(database, _BACKENDS))
        assert amounts(database) == left
        await lane.commit(batch)
        assert amounts(database) == ONCE
        await lane.commit(batch)
        assert amounts(database) == ONCE
        await lane.commit(WriteSet(rejects=batch.rejects))
        assert amounts(database) == ONCE | {"counted": 4, "quarantine": 4}
        await lane.close()


async def test_nobody_takes_a_lane_over_before_its_owner_is_gone(database: Database) -> None:
    async with lane_stores(database) as stores:
        owner = await stores.open(0, range(0, 64, 2))
        neighbour = await stores.open(1, range(1, 64, 2))
        rival = asyncio.create_task(stores.open(0, [2, 3]))
        await until(lambda: judged(database, _WAITING))
        await owner.close()
        await until(lambda: len(judged(database, _BACKENDS)) == 2)
        assert not rival.done()
        await neighbour.close()
        taken = await rival
        await taken.close()


async def test_an_owner_that_was_killed_is_followed_when_its_backend_ends(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with CuttingProxy(database.dsn("pulse_pipeline")) as proxy:
        async with lane_stores(database, proxy.dsn) as stores:
            killed = await stores.open(0, ALL)
            await killed.commit(WriteSet(states=[state()]))
            proxy.cut_all()
        async with lane_stores(database) as stores:
            follower = await asyncio.wait_for(stores.open(0, ALL), 30)
            assert [each.key for each in await follower.load()] == [state().key]
            await follower.close()


async def opened_rival(stores: PostgresLaneStores, database: Database) -> asyncio.Task[Any]:
    rival = asyncio.create_task(stores.open(0, ALL))
    await until(lambda: judged(database, _WAITING))
    return rival


async def test_a_lane_takes_its_locks_again_after_a_lost_connection(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with lane_stores(database) as stores:
        lane = await stores.open(0, ALL)
        judged(database, f"SELECT pg_terminate_backend(pid, 10000) FROM ({_BACKENDS}) AS b")
        await until_tried(lane, WriteSet(states=[state()]))
        rival = await opened_rival(stores, database)
        assert not rival.done()
        await lane.close()
        await (await rival).close()


async def test_a_lane_that_was_taken_over_commits_no_more(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with lane_stores(database) as stores:
        lane = await stores.open(0, ALL)
        rival = await opened_rival(stores, database)
        judged(database, f"SELECT pg_terminate_backend(pid, 10000) FROM ({_BACKENDS} ORDER BY backend_start LIMIT 1) b")
        taken = await rival
        await taken.commit(WriteSet(states=[state(last_seq=8)]))
        await taken.close()
        for _ in range(2):
            with pytest.raises(OwnershipLost):
                await until_tried(lane, WriteSet(states=[state(last_seq=9)]))
        assert judged(database, "SELECT last_seq FROM device_state") == [(8,)]
        await lane.close()


async def until_tried(lane: PostgresLane, writes: WriteSet) -> None:
    """Commit as the pipeline does: again, as long as the database is only away."""
    while True:
        try:
            return await lane.commit(writes)
        except OwnershipLost:
            raise
        except StoreUnavailable:
            await asyncio.sleep(0)


async def test_a_cancelled_commit_leaves_a_lane_that_works(database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with lane_stores(database) as stores:
        lane = await stores.open(0, ALL)
        await lane.commit(WriteSet(states=[state()]))
        with database.superuser() as hand:
            hand.execute("BEGIN")
            hand.execute("LOCK TABLE device_state IN ACCESS EXCLUSIVE MODE")
            stuck = asyncio.create_task(lane.commit(WriteSet(states=[state(last_seq=8)])))
            await until(lambda: judged(database, "SELECT FROM pg_locks WHERE NOT granted"))
            stuck.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stuck
            hand.execute("ROLLBACK")
        await lane.commit(WriteSet(states=[state(last_seq=9)]))
        assert [each.last_seq for each in await lane.load()] == [9]
        await lane.close()


async def test_asking_for_nothing_asks_whether_the_database_is_there(database: Database) -> None:
    """The pipeline judges silence only while it is."""
    async with (
        CuttingProxy(database.dsn("pulse_pipeline")) as proxy,
        lane_stores(database, proxy.dsn) as stores,
    ):
        lane = await stores.open(0, ALL)
        assert await lane.known([]) == set()
        proxy.cut_all()
        with pytest.raises(StoreUnavailable):
            await lane.known([])
        assert await lane.known([]) == set()
        await lane.close()


async def test_a_cancelled_open_lets_go(database: Database) -> None:
    async with lane_stores(database) as stores:
        owner = await stores.open(0, ALL)
        rival = await opened_rival(stores, database)
        rival.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rival
        await until(lambda: len(judged(database, _BACKENDS)) == 1)
        await owner.close()


async def test_a_lane_of_a_database_that_is_away_says_so(database: Database) -> None:
    async with CuttingProxy(database.dsn("pulse_pipeline")) as proxy:
        dsn = proxy.dsn
    async with lane_stores(database, dsn) as stores:
        with pytest.raises(StoreUnavailable):
            await stores.open(0, ALL)
