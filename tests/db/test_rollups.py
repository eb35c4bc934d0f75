"""Roll-ups answer as the readings themselves do, whatever came late, again, or while they were made."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.api import Aggregate, DeviceKey, PluginConfig
from pulse_core.series import in_buckets
from pulse_core.testing.telemetry_stores import DAY_US, DEVICE, a_reading
from pulse_core.testing.telemetry_stores.readings import MINUTE_US, SECOND_US
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry import rolling_up
from pulse_postgres.telemetry.rolled import FEW, HOUR_US, MANY
from pulse_postgres.telemetry.rolling_up import roll_up, waiting
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from pulse_server.rolling_up import LAG, WAITING, RollingUp
from support.batches import judged
from support.telemetry import a_store
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from pulse_core.records import MetricValue, Reading
    from support.database import Database

NOW_US = time.time_ns() // 1000
HOUR_AGO_US = NOW_US // HOUR_US * HOUR_US - 3 * HOUR_US
"""An hour that is over for good."""
BUCKETS_US = [10 * SECOND_US, MINUTE_US, 90 * SECOND_US, 7 * MINUTE_US, 30 * MINUTE_US, 90 * MINUTE_US, HOUR_US,
              5 * HOUR_US, DAY_US]  # fmt: skip
SAID: list[MetricValue] = [1, True, "x", 7]
OTHER = DeviceKey("tenant-a", "pump-8")


class Kept:
    """A store that is written as a lane does, and the pool of whoever rolls up."""

    def __init__(self, database: Database, store: PostgresTelemetryStore, pool: asyncpg.Pool[Any]) -> None:
        self.database = database
        self.store = store
        self.pool = pool
        self.readings: dict[tuple[DeviceKey, int, int], Reading] = {}

    async def keep(self, readings: Sequence[Reading]) -> None:
        await self.store.prepare(readings)
        async with self.transaction() as transaction:
            await self.store.write(readings, transaction)
        for each in readings:
            self.readings.setdefault((each.device, each.ts_us, each.key_hash), each)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    async def roll_up(self) -> int:
        """All that is due."""
        hours = 0
        while (step := await roll_up(self.pool)).hours:
            hours += step.hours
        return hours

    async def count(self, since_us: int = HOUR_AGO_US, bucket_us: int = HOUR_US) -> Any:
        return (await self.told(["t"], since_us, since_us + HOUR_US, bucket_us, [Aggregate.COUNT]))["t"]["count"]

    async def told(
        self, names: list[str], start_us: int, end_us: int, bucket_us: int, aggregates: list[Aggregate]
    ) -> dict[str, Any]:
        found = await self.store.series(
            DEVICE, names, start_us=start_us, end_us=end_us, bucket_us=bucket_us, aggregates=aggregates
        )
        assert found.one_in == 1
        return {each.metric: {"at": each.starts_us, **each.values} for each in found.series}

    def expected(
        self, names: list[str], start_us: int, end_us: int, bucket_us: int, aggregates: list[Aggregate]
    ) -> dict[str, Any]:
        """The same, of the readings one by one."""
        there = [each for key, each in sorted(self.readings.items()) if key[0] == DEVICE]
        there = [each for each in there if start_us <= each.ts_us < end_us]
        series = [
            in_buckets(name, [(each.ts_us, each.metrics.get(name)) for each in there], bucket_us, aggregates)
            for name in names
        ]
        return {each.metric: {"at": each.starts_us, **each.values} for each in series}


@pytest.fixture
async def kept(database: Database) -> AsyncIterator[Kept]:
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test")
    store = PostgresTelemetryStore(PluginConfig())
    await store.open(pool)
    try:
        yield Kept(database, store, pool)
    finally:
        await pool.close()


def said(ts_us: int, metrics: dict[str, MetricValue] | None = None, **changes: Any) -> Reading:
    metrics = {"t": 1} if metrics is None else metrics
    text = msgspec.json.encode(metrics).decode()
    return a_reading(ts_us, **{"received_us": NOW_US, "metrics": metrics, "metrics_json": text, **changes})


def an_hour(of: int, begins_us: int = HOUR_AGO_US) -> list[Reading]:
    return [said(begins_us + n * HOUR_US // of) for n in range(of)]


def at_random(chance: random.Random) -> Reading:
    """Some hours are full, some nearly empty, one goes on; times and hashes meet; sums are exact."""
    hours_ago = chance.choice([0, 1, 2, 3, 3, 3, 4, 4, 20, 24, 47])
    step_us = {3: 7 * SECOND_US, 4: 12 * SECOND_US}.get(hours_ago, 8 * MINUTE_US)
    begins_us = NOW_US // HOUR_US * HOUR_US - hours_ago * HOUR_US
    values: dict[str, MetricValue] = {"t": chance.randrange(-80, 80) / 8, "n": chance.choice(SAID)}
    if chance.random() < 0.1:
        values[chance.choice(["rare", 'o"dd %s'])] = chance.choice(SAID)
    return said(
        begins_us + chance.randrange(HOUR_US // step_us) * step_us,
        values,
        key_hash=chance.randrange(3),
        device=chance.choice([DEVICE, DEVICE, DEVICE, OTHER]),
    )


@pytest.mark.parametrize("seed", range(3))
async def test_roll_ups_answer_as_readings_do(kept: Kept, seed: int) -> None:
    chance = random.Random(seed)
    names = ["t", "rare", "none", "n", 'o"dd %s']
    for _ in range(12):
        batch = [at_random(chance) for _ in range(chance.choice([5, 300, 300]))]
        again = chance.sample(list(kept.readings.values()), min(5, len(kept.readings)))
        await kept.keep([*batch, *again])
        if chance.random() < 0.5:
            await roll_up(kept.pool)
        for _ in range(4):
            start_us = NOW_US - chance.randrange(3 * DAY_US)
            end_us = start_us + chance.randrange(1, NOW_US + MINUTE_US - start_us)
            bucket_us = chance.choice(BUCKETS_US)
            chosen = chance.sample(list(Aggregate), chance.randrange(1, 8))
            asked = (names, start_us, end_us, bucket_us, chosen)
            assert await kept.told(*asked) == kept.expected(*asked)
            seen = [each for key, each in kept.readings.items() if key[0] == DEVICE and start_us <= key[1] < end_us]
            numbers = {name for each in seen for name, value in each.metrics.items() if type(value) in {int, float}}
            assert await kept.store.metric_names(DEVICE, start_us=start_us, end_us=end_us) == sorted(numbers)
    assert judged(kept.database, "SELECT count(*) > 0, count(minutes) > 0 FROM telemetry_hours") == [(True, True)]


async def test_what_is_rolled_up_is_not_read_again(kept: Kept) -> None:
    """By the hour and by the minute; told by what is left when the readings themselves are gone."""
    await kept.keep(an_hour(of=MANY + 1))
    before = [await kept.count(bucket_us=bucket_us) for bucket_us in (HOUR_US, MINUTE_US)]
    assert await kept.roll_up() == 1
    with kept.database.superuser() as hand:
        hand.execute("DELETE FROM telemetry")
    assert [await kept.count(bucket_us=bucket_us) for bucket_us in (HOUR_US, MINUTE_US)] == before
    assert await kept.count(bucket_us=10 * SECOND_US) == []


async def test_little_is_not_rolled_up(kept: Kept) -> None:
    await kept.keep([*an_hour(of=FEW), *an_hour(of=FEW + 1, begins_us=HOUR_AGO_US - HOUR_US)])
    assert await kept.roll_up() == 2
    assert judged(kept.database, "SELECT readings, minutes FROM telemetry_hours") == [(FEW + 1, None)]


async def test_late_and_repeated_readings_count_once(kept: Kept) -> None:
    readings = an_hour(of=10)
    await kept.keep(readings[:8])
    await kept.roll_up()
    await kept.keep(readings)
    assert await kept.count() == [10], "before it is rolled up again"
    await kept.roll_up()
    await kept.keep(readings)
    await kept.roll_up()
    assert await kept.count() == [10]


async def test_a_reading_that_is_committed_while_its_hour_is_rolled_up_counts(kept: Kept) -> None:
    """Its transaction holds the mark, so nobody works that off."""
    readings = an_hour(of=10)
    await kept.keep(readings[:8])
    async with kept.transaction() as lane:
        await kept.store.write(readings[8:], lane)
        assert (await roll_up(kept.pool)).hours == 0
    assert await kept.roll_up() == 1
    assert await kept.count() == [10]


async def test_a_reading_that_comes_while_its_hour_is_rolled_up_marks_it_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for whoever has the mark."""
    readings = an_hour(of=10)
    await kept.keep(readings[:8])
    keep_rolled = rolling_up._keep
    late: list[asyncio.Task[None]] = []

    async def meanwhile(connection: Any, marks: Any, rolled: Any) -> None:
        late.append(asyncio.create_task(kept.keep(readings[8:])))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await until(lambda: judged(kept.database, waits) != [(0,)])
        await keep_rolled(connection, marks, rolled)

    monkeypatch.setattr(rolling_up, "_keep", meanwhile)
    assert (await roll_up(kept.pool)).readings == 8
    await late[0]
    assert await kept.count() == [10]
    monkeypatch.setattr(rolling_up, "_keep", keep_rolled)
    assert await kept.roll_up() == 1
    assert await kept.count() == [10]


async def test_hours_that_go_on_are_marked_once_and_late_ones_each_time(kept: Kept) -> None:
    def marks() -> Any:
        return judged(kept.database, "DELETE FROM telemetry_marks RETURNING hour < now() - interval '2 hours'")

    now_us = time.time_ns() // 1000
    await kept.keep([said(now_us), said(HOUR_AGO_US)])
    assert sorted(marks()) == [(False,), (True,)]
    await kept.keep([said(now_us), said(HOUR_AGO_US)])
    assert marks() == [(True,)], "the mark of the hour that goes on is known to be there"
    kept.store._marks._clock.set(now_us // HOUR_US * HOUR_US + HOUR_US + 10 * MINUTE_US)
    await kept.keep([said(now_us)])
    assert marks() == [(False,)], "it may be worked off by now"


async def test_hours_that_go_on_are_not_rolled_up(kept: Kept) -> None:
    await kept.keep([*an_hour(of=10), *an_hour(of=10, begins_us=time.time_ns() // 1000 - MINUTE_US)])
    assert (await waiting(kept.pool)).hours == 1
    assert (await waiting(kept.pool)).lag_s > 0
    assert await kept.roll_up() == 1
    assert await waiting(kept.pool) == (0, 0)


async def test_a_step_is_small(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stores late readings waits for it."""
    monkeypatch.setattr(rolling_up, "READINGS_AT_ONCE", 20)
    monkeypatch.setattr(rolling_up, "_PAGE", 7)
    for back in range(5):
        await kept.keep(an_hour(of=15, begins_us=HOUR_AGO_US - back * HOUR_US))
    await kept.keep(an_hour(of=1, begins_us=HOUR_AGO_US - 5 * HOUR_US))
    steps = []
    while (step := await roll_up(kept.pool)).hours:
        steps.append(step)
    assert steps == [(3, 31), (2, 30), (1, 15)]
    assert [await kept.count(HOUR_AGO_US - back * HOUR_US) for back in range(6)] == [[15.0]] * 5 + [[1.0]]


async def test_one_process_at_a_time(kept: Kept) -> None:
    await kept.keep(an_hour(of=10))
    async with kept.transaction() as other:
        assert await other.fetchval(rolling_up._ALONE)
        assert (await roll_up(kept.pool)).hours == 0
    assert (await roll_up(kept.pool)).hours == 1


async def test_roll_ups_go_with_their_day(kept: Kept) -> None:
    await kept.keep([*an_hour(of=10), *an_hour(of=10, begins_us=HOUR_AGO_US - 9 * DAY_US)])
    await kept.roll_up()
    assert await kept.store.drop_before(NOW_US - 5 * DAY_US) == 1
    assert judged(kept.database, "SELECT readings FROM telemetry_hours") == [(10,)]
    assert await kept.count(HOUR_AGO_US - 9 * DAY_US) == []
    await kept.keep(an_hour(of=3, begins_us=HOUR_AGO_US - 9 * DAY_US))
    await kept.roll_up()
    assert await kept.count(HOUR_AGO_US - 9 * DAY_US) == [3]


async def test_many_readings_of_which_hours_are_rolled_up_are_not_too_many(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What remains counts, also for whether some of it will do."""
    monkeypatch.setattr("pulse_postgres.telemetry.series.VALUES_AT_ONCE", 100)
    await kept.keep([*an_hour(of=1000), *an_hour(of=50, begins_us=HOUR_AGO_US - HOUR_US + 1)])
    await kept.roll_up()
    asked: Any = {"start_us": HOUR_AGO_US - HOUR_US, "end_us": NOW_US, "bucket_us": DAY_US, "sample": True}
    found = await kept.store.series(DEVICE, ["t"], **asked, aggregates=[Aggregate.COUNT])
    assert (found.one_in, sum(found.series[0].values["count"])) == (1, 1050)
    await kept.keep([said(HOUR_AGO_US + 1)])
    found = await kept.store.series(DEVICE, ["t"], **asked, aggregates=[Aggregate.COUNT])
    assert found.one_in == 10, "marked: the readings themselves are looked at"


async def gone_for_good(kept: Kept) -> None:
    """Nothing is left of the device, readings and all."""
    for table in ("telemetry", "telemetry_hours", "telemetry_marks"):
        assert judged(kept.database, f"SELECT DISTINCT device_id FROM {table}") == [(OTHER.device_id,)], table


async def test_roll_ups_go_with_their_device(kept: Kept) -> None:
    for device in (DEVICE, OTHER):
        await kept.keep([msgspec.structs.replace(each, device=device) for each in an_hour(of=10)])
    await kept.roll_up()
    for device in (DEVICE, OTHER):
        await kept.keep([said(HOUR_AGO_US - 1, device=device)])
    async with a_store(kept.database, "pulse_admin") as admin:
        assert await admin.forget_device(DEVICE) == 11
    await gone_for_good(kept)
    await kept.roll_up()
    assert await kept.count() == []


async def test_who_forgets_a_device_waits_for_the_roll_up_that_is_being_made(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise that would come into being behind their back."""
    for device in (DEVICE, OTHER):
        await kept.keep([msgspec.structs.replace(each, device=device) for each in an_hour(of=10)])
    await kept.keep([said(HOUR_AGO_US - 3 * HOUR_US, device=OTHER)])
    keep_rolled = rolling_up._keep
    forgetting: list[asyncio.Task[int]] = []

    async def meanwhile(connection: Any, marks: Any, rolled: Any) -> None:
        forgetting.append(asyncio.create_task(admin.forget_device(DEVICE)))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await until(lambda: judged(kept.database, waits) != [(0,)])
        await keep_rolled(connection, marks, rolled)

    monkeypatch.setattr(rolling_up, "_keep", meanwhile)
    async with a_store(kept.database, "pulse_admin") as admin:
        await roll_up(kept.pool)
        await forgetting[0]
    await kept.keep([said(HOUR_AGO_US, device=OTHER)])
    await gone_for_good(kept)


async def test_a_tenant_is_told_of_its_own_roll_ups_alone(kept: Kept) -> None:
    await kept.keep(an_hour(of=10))
    await kept.roll_up()
    asked: Any = {"start_us": HOUR_AGO_US, "end_us": HOUR_AGO_US + HOUR_US, "bucket_us": HOUR_US}
    for tenant_id, there in (("tenant-a", [10]), ("tenant-b", [])):
        async with a_store(kept.database, "pulse_web", tenant_id=tenant_id) as store:
            found = await store.series(DEVICE, ["t"], **asked, aggregates=[Aggregate.COUNT])
        assert found.series[0].values["count"] == there


async def test_the_background_works_off_all_and_tells_how_far_it_is(kept: Kept) -> None:
    for back in range(3):
        await kept.keep(an_hour(of=10, begins_us=HOUR_AGO_US - back * HOUR_US))
    assert await RollingUp(kept.pool).once() == 3
    assert [each.samples[0].value for gauge in (WAITING, LAG) for each in gauge.collect()] == [0, 0]
    rolling = RollingUp(kept.pool)
    await kept.keep(an_hour(of=20))
    rolling.start()
    await until(lambda: judged(kept.database, "SELECT max(readings) FROM telemetry_hours") == [(20,)])
    await rolling.stop()
