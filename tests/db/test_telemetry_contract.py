"""The default telemetry store keeps the contract, and takes part in the batch's transaction."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import asyncpg
import psycopg
import pytest

from pulse_core.api import Aggregate, DeviceKey, PluginConfig, ReadingKey, TelemetryStore
from pulse_core.errors import PermanentFailure, StoreUnavailable
from pulse_core.testing.telemetry_stores import (
    DAY_US,
    DEVICE,
    AnswersContract,
    NumbersContract,
    OpenedStore,
    TelemetryStoreContract,
    a_reading,
)
from pulse_postgres.connections import TenantPool
from pulse_postgres.migrate import migrate
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry import series
from pulse_postgres.telemetry import store as telemetry_store
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support.database import Database
from support.telemetry import a_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import PostgresServer


class InPostgres(OpenedStore):
    kind: ClassVar[type[PostgresTelemetryStore]] = PostgresTelemetryStore

    @pytest.fixture(autouse=True)
    def _given(self, database: Database) -> None:
        self.database = database

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PostgresTelemetryStore]:
        async with a_store(self.database, kind=self.kind) as store:
            yield store

    @asynccontextmanager
    async def forgetting(self, store: TelemetryStore) -> AsyncIterator[PostgresTelemetryStore]:
        async with a_store(self.database, "pulse_admin", self.kind) as opened:
            yield opened

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.database.dsn("pulse_pipeline"))
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()


class TestPostgresTelemetryContract(InPostgres, TelemetryStoreContract):
    pass


class ByHistory(PostgresTelemetryStore):
    """What a store does that can do nothing but give readings back."""

    metric_names = TelemetryStore.metric_names
    series = TelemetryStore.series
    recent = TelemetryStore.recent
    grouped = TelemetryStore.grouped
    latest = TelemetryStore.latest
    metrics_of = TelemetryStore.metrics_of


class TestAStoreNeedOnlyGiveReadingsBack(InPostgres, NumbersContract, AnswersContract):
    kind = ByHistory


async def test_no_language_orders_devices(postgres: PostgresServer) -> None:
    """Where the database was not made in the order of code points, the column is."""
    database = Database(postgres, "test_of_a_language")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE test_of_a_language TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C.utf8'")
    try:
        migrate(database.url, database.secret_key)
        contract = TestPostgresTelemetryContract()
        contract.database = database
        await contract.test_devices_stand_in_the_order_of_code_points()
        with database.superuser() as judge:
            orders = judge.execute(
                "SELECT DISTINCT collname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation"
                " WHERE attrelid::regclass::text LIKE 'telemetry%' AND attname = 'device_id'"
            ).fetchall()
        assert orders == [("C",)]
    finally:
        database.drop()


async def keep(database: Database, store: PostgresTelemetryStore, *ts_us: int) -> None:
    readings = [a_reading(moment, received_us=time.time_ns() // 1000) for moment in ts_us]
    await store.prepare(readings)
    connection = await asyncpg.connect(database.dsn("pulse_pipeline"))
    try:
        await store.write(readings, connection)
    finally:
        await connection.close()


async def test_what_is_rolled_back_is_not_there(database: Database) -> None:
    now = time.time_ns() // 1000
    connection = await asyncpg.connect(database.dsn("pulse_pipeline"))
    async with a_store(database) as store:
        await store.prepare([a_reading(now)])
        transaction = connection.transaction()
        await transaction.start()
        await store.write([a_reading(now)], connection)
        await transaction.rollback()
        assert await store.known([ReadingKey(DEVICE, now, now)]) == set()
    await connection.close()


async def test_days_are_made_ahead(database: Database) -> None:
    """Midnight comes without a stall: the next two days are there before their first reading."""
    now = time.time_ns() // 1000
    async with a_store(database) as store:
        await keep(database, store, now)
    with database.superuser() as judge:
        days = judge.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'telemetry'::regclass").fetchone()
    assert days == (3,)


async def test_two_stores_make_the_same_day_at_once(database: Database) -> None:
    now = time.time_ns() // 1000
    async with a_store(database) as one, a_store(database) as other:
        readings = [a_reading(now - number * DAY_US) for number in range(20)]
        await asyncio.gather(one.prepare(readings), other.prepare(list(reversed(readings))))


async def test_a_day_that_another_process_dropped_is_made_again(database: Database) -> None:
    now = time.time_ns() // 1000
    old = now - 20 * DAY_US
    async with a_store(database) as store, a_store(database) as retention:
        await keep(database, store, old)
        assert await retention.drop_before(now - DAY_US) == 1
        with pytest.raises(asyncpg.CheckViolationError):
            await keep(database, store, old)
        await keep(database, store, old)
        assert await store.known([ReadingKey(DEVICE, old, old)]) == {0}


async def test_retention_does_not_wait_long_for_a_reader(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a lock on the whole table would make every lane wait behind it."""
    now = time.time_ns() // 1000
    reader = await asyncpg.connect(database.url)
    async with a_store(database) as store:
        await keep(database, store, now - 20 * DAY_US)
        async with reader.transaction():
            await reader.fetch("SELECT * FROM telemetry")
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(store.drop_before(now - DAY_US), 20)
        assert await store.drop_before(now - DAY_US) == 1
    await reader.close()


async def test_an_operator_reads_history(database: Database) -> None:
    now = time.time_ns() // 1000
    async with a_store(database) as writer, a_store(database, "pulse_operator") as reader:
        await keep(database, writer, now)
        assert len(await reader.history(DEVICE, start_us=0, end_us=now + 1, limit=10)) == 1
        assert await reader.history(DeviceKey("x", "y"), start_us=0, end_us=now + 1, limit=10) == []


SAID = """
    INSERT INTO telemetry SELECT t, 'd', now() - x * interval '10 s', 1, now(), 'telemetry', 's', x,
        jsonb_build_object('temp', 20 + x % 3, 'fw', '1.2')
    FROM unnest(ARRAY['tenant-a', 'tenant-b']) t, generate_series(1, 3000) x
"""


async def test_series_are_of_the_tenant_whose_transaction_it_is(database: Database) -> None:
    """The query asks for the key that it is given; row-level security stands behind it."""
    now = time.time_ns() // 1000
    theirs = DeviceKey("tenant-b", "d")
    async with a_store(database) as writer:
        await writer.prepare([a_reading(now), a_reading(now - DAY_US)])
    with database.superuser() as hand:
        hand.execute(SAID)
    pool = await open_pool(database.dsn("pulse_web"), name="test")
    store = PostgresTelemetryStore(PluginConfig())
    await store.open(TenantPool(pool, "tenant-a"))
    asked: Any = {"start_us": now - DAY_US, "end_us": now + 1}
    for device, there in ((DeviceKey("tenant-a", "d"), True), (theirs, False)):
        found = await store.series(device, ["temp"], **asked, bucket_us=DAY_US, aggregates=[Aggregate.COUNT])
        assert sum(found.series[0].values["count"]) == (3000 if there else 0)
        assert bool(await store.metric_names(device, **asked)) is there
        assert bool((await store.recent([device], since_us=now - DAY_US, end_us=now, limit=3))[device]) is there
    await pool.close()


async def test_of_very_many_readings_some_are_looked_at(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when they come at the same second and say the same; without leave, none is left out."""
    now = time.time_ns() // 1000
    monkeypatch.setattr(series, "VALUES_AT_ONCE", 300)
    async with a_store(database) as store:
        await store.prepare([a_reading(now), a_reading(now - DAY_US)])
        with database.superuser() as hand:
            hand.execute(SAID)
        counts = {}
        for sample in (True, False):
            found = await store.series(
                DeviceKey("tenant-a", "d"),
                ["temp"],
                start_us=now - DAY_US,
                end_us=now + 1,
                bucket_us=DAY_US,
                aggregates=[Aggregate.COUNT],
                sample=sample,
            )
            counts[found.one_in] = sum(found.series[0].values["count"])
    assert counts[1] == 3000
    assert 2000 < counts[10] < 4000


async def test_what_takes_too_long_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns() // 1000
    asked: Any = {"start_us": now - DAY_US, "end_us": now, "bucket_us": DAY_US, "aggregates": [Aggregate.AVG]}
    async with a_store(database) as store:
        await keep(database, store, now - 1, now - 2)
        monkeypatch.setattr(series, "ROWS_AT_MOST", 1)
        with pytest.raises(PermanentFailure, match="more than 1 readings"):
            await store.series(DEVICE, ["t"], **asked)
        monkeypatch.setattr(
            series,
            "_COUNT",
            series._COUNT.replace("count(*)", "count(*) + sum(length(pg_sleep(60)::text))"),
        )
        monkeypatch.setattr(series, "WITHIN_MS", 50)
        with pytest.raises(PermanentFailure, match="takes longer"):
            await store.series(DEVICE, ["t"], **asked)
        monkeypatch.undo()
        assert await store.metric_names(DEVICE, start_us=now - DAY_US, end_us=now) == []


async def test_known_looks_only_into_the_days_that_matter(database: Database) -> None:
    """100,000 readings over 60 days: a look-up is an index look-up in one day, whatever the planner thinks."""
    now = time.time_ns() // 1000
    async with a_store(database) as store:
        await store.prepare([a_reading(now - number * DAY_US, received_us=now) for number in range(60)])
        with database.superuser() as judge:
            judge.execute(
                "INSERT INTO telemetry SELECT 't', 'd', now() - x * interval '50 s', x, now(), 'event', 's', x, '{}'"
                " FROM generate_series(1, 100000) x"
            )
            judge.execute("ANALYZE telemetry")
        connection = await asyncpg.connect(database.dsn("pulse_pipeline"))
        many = 2000
        plan = await connection.fetch(
            f"EXPLAIN (ANALYZE, FORMAT TEXT) {telemetry_store._KNOWN}",
            ["t"] * many,
            ["d"] * many,
            [now - DAY_US] * many,  # a day that is over: today's may have no reading yet
            [now - DAY_US] * many,
            list(range(many)),
        )
        await connection.close()
    touched = [row[0] for row in plan if "telemetry_" in row[0] and "never executed" not in row[0]]
    assert len(touched) == 1, "\n".join(row[0] for row in plan)
    assert "Index" in touched[0]


async def test_a_store_that_is_not_open_says_so() -> None:
    with pytest.raises(StoreUnavailable):
        await PostgresTelemetryStore(PluginConfig()).known([ReadingKey(DEVICE, 1, 1)])
