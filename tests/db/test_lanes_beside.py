"""A lane in PostgreSQL whose readings go to a store beside it: what is written first, and what not at all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.api import ReadingKey
from pulse_core.errors import OwnershipLost, ReadingsAway, ReadingsRefused, StoreUnavailable
from pulse_core.records import WriteSet
from pulse_postgres.lanes import PostgresLaneStores
from support.batches import ALL, NOW_US, judged, key, reading, register, state
from support.beside_store import UNSTORABLE, Beside, BesideConfig, BesideStore
from support.books import ledger
from support.cutting import CuttingProxy
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

_STATES = "SELECT count(*) FROM device_state"
_COUNTS = "SELECT coalesce(sum(accepted), 0)::int FROM accepted_counts"
_TAKE = "UPDATE lane_partitions SET owner = gen_random_uuid() RETURNING 1"
_END = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'pulse lane'
"""


class Counting(BesideStore):
    writes = 0

    async def write(self, readings: object, transaction: object) -> None:
        Counting.writes += 1
        await super().write(readings, transaction)  # type: ignore[arg-type]


@asynccontextmanager
async def stores(database: Database, path: Path, dsn: str | None = None) -> AsyncIterator[PostgresLaneStores]:
    Counting.writes = 0
    store = Counting(BesideConfig(path=path))
    await store.open(None)
    yield PostgresLaneStores(dsn or database.dsn("pulse_pipeline"), store)
    await store.close()


@pytest.fixture
def beside(tmp_path: Path, database: Database) -> Beside:
    register(database, "tenant-a/dev-1")
    return Beside(tmp_path / "readings.sqlite")


def a_batch(**changes: Any) -> WriteSet:
    return WriteSet(readings=[reading(**changes)], states=[state()])


async def test_readings_are_there_before_the_commit_and_are_not_written_again_with_it(
    beside: Beside, database: Database
) -> None:
    async with CuttingProxy(database.dsn("pulse_pipeline")) as proxy, stores(database, beside.path, proxy.dsn) as lanes:
        lane = await lanes.open(0, ALL)
        assert lanes.readings_first
        proxy.cut_at = "before COMMIT"
        batch = a_batch()
        with pytest.raises(StoreUnavailable):
            await lane.commit(batch)
        assert beside.seqs("tenant-a") == {"dev-1": [7]}
        assert judged(database, _STATES) == [(0,)]
        assert await lane.known([ReadingKey(key(), NOW_US, NOW_US)]) == {0}
        for _ in range(2):
            await lane.commit(batch)
        assert Counting.writes == 1
        assert (judged(database, _STATES), judged(database, _COUNTS)) == ([(1,)], [(1,)])
        await lane.close()


async def test_nothing_is_committed_while_the_store_is_away(beside: Beside, database: Database) -> None:
    async with stores(database, beside.path) as lanes:
        lane = await lanes.open(0, ALL)
        beside.go(away=True)
        with pytest.raises(ReadingsAway, match="telemetry store beside: it is away"):
            await lane.commit(a_batch())
        with pytest.raises(ReadingsAway):
            await lane.known([ReadingKey(key(), NOW_US, NOW_US)])
        await lane.commit(WriteSet(states=[state(last_seq=1)]))
        assert judged(database, "SELECT last_seq FROM device_state") == [(1,)], "what has no readings needs no store"
        beside.go()
        await lane.commit(a_batch())
        assert judged(database, "SELECT last_seq FROM device_state") == [(7,)]
        await lane.close()


async def test_of_a_batch_with_refused_readings_nothing_is_committed_and_the_books_balance(
    beside: Beside, database: Database
) -> None:
    async with stores(database, beside.path) as lanes:
        lane = await lanes.open(0, ALL)
        bad: dict[str, Any] = {"metrics": {UNSTORABLE: 1}, "metrics_json": f'{{"{UNSTORABLE}": 1}}', "key_hash": 1}
        batch = WriteSet(readings=[reading(), reading(**bad)], states=[state()])
        with pytest.raises(ReadingsRefused) as caught:
            await lane.commit(batch)
        assert list(caught.value.refused) == [1]
        assert judged(database, _STATES) == [(0,)]
        await lane.commit(msgspec.structs.replace(a_batch(), readings=batch.readings[:1]))
        assert judged(database, _COUNTS) == [(1,)]
        assert beside.seqs("tenant-a") == {"dev-1": [7]}
        await lane.close()
    async with ledger(database, readings_kept=False) as books:
        found = await books.check()
    assert found.balanced
    assert judged(database, "SELECT count(*) FROM readings_accepted") == [(0,)], "the store counts them, not we"


async def test_a_lane_that_was_taken_over_writes_no_readings(beside: Beside, database: Database) -> None:
    async with stores(database, beside.path) as lanes:
        lane = await lanes.open(0, ALL)
        await lane.commit(a_batch())
        judged(database, _TAKE)
        assert judged(database, _END)
        await until(lambda: lane._connection is not None and lane._connection.is_closed())
        with pytest.raises(OwnershipLost):
            await lane.commit(a_batch(ts_us=NOW_US + 1))
        assert beside.seqs("tenant-a") == {"dev-1": [7]}
        await lane.close()
