"""Ten million readings in PostgreSQL (``--full``: a hundred million): charts, latest values, roll-ups, pages of all."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from bench.figures import Bench, Figure, cpu_s, percentile, say
from pulse_core.api import Aggregate, DeviceKey, PluginConfig, Selection
from pulse_core.records import WriteSet
from pulse_postgres.lanes import PostgresLaneStores
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry.rolling_up import roll_up
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support.batches import reading, register, state
from support.database import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg
    import psycopg

    from support.database import Database

DAYS = 30
NAMES = ("humidity", "power", "temperature")
TENANT = "tenant-a"
HOUR_US = 3600 * 1_000_000
AIM_HOUR_MS, AIM_MONTH_MS, AIM_LATEST_MS = 20.0, 50.0, 100.0
AIM_BYTES = 60
AIM_EXPORT = 100_000
AIM_RATIO = 0.9
ASKED_TIMES = 100
BATCHES, BATCH, ROUNDS = 30, 1000, 6

_FILL = """
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, seq, metrics)
    SELECT 'tenant-a', %(kind)s || '-' || d, t + d * interval '1 ms',
        hashint8extended(d, 7) # extract(epoch FROM t)::int,
        t + interval '1 s', 'telemetry', 'site-1', extract(epoch FROM t)::int,
        jsonb_build_object(
            'temperature', round((20 + 5 * sin(d + extract(epoch FROM t) / 5000) + random())::numeric, 2),
            'humidity', round((50 + 10 * random())::numeric, 1), 'power', (1000 * random())::int)
    FROM generate_series(%(since)s, %(until)s - interval '1 ms', make_interval(secs => %(step)s)) AS t
    CROSS JOIN generate_series(0, %(devices)s - 1) AS d
"""
_MARK = """
    INSERT INTO telemetry_marks (tenant_id, device_id, hour)
    SELECT tenant_id, device_id, date_bin('1 hour', ts, timestamptz 'epoch') FROM telemetry
    GROUP BY 1, 2, 3 HAVING count(*) > 2
"""
_BYTES = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = %s::regclass"


class Fleet(NamedTuple):
    """So many devices, and how often each speaks."""

    kind: str
    devices: int
    step_s: int

    def key(self, number: int) -> DeviceKey:
        """One of them."""
        return DeviceKey(TENANT, f"{self.kind}-{number % self.devices}")

    @property
    def readings(self) -> int:
        """Of all of them, in all days."""
        return self.devices * DAYS * 86_400 // self.step_s


class Unmarked(PostgresTelemetryStore):
    """The store as it would be without roll-ups."""

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self._marks = _NoMarks()  # type: ignore[assignment]


class _NoMarks:
    async def ahead(self, *_: object) -> None:
        return

    async def behind(self, *_: object) -> None:
        return


def telemetry(bench: Bench) -> list[Figure]:
    """Charts over 30 days of readings, latest values, what roll-ups take, and all readings page by page."""
    shrunk = 100 if bench.small else 1
    busy = Fleet("busy", 100 if bench.full else 10, 10)
    quiet = Fleet("quiet", 10_000 // shrunk, 360 if bench.full else 3600)
    server = PostgresServer()
    try:
        database = server.fresh()
        with database.superuser() as hand:
            fill(hand, busy, quiet)
        return asyncio.run(measured(database, busy, quiet))
    finally:
        server.stop()


def fill(hand: psycopg.Connection[Any], *fleets: Fleet) -> None:
    """The last 30 days, day by day, as they would have come."""
    hand.execute("SET synchronous_commit = off; SET TIME ZONE 'UTC'")
    hand.execute("INSERT INTO tenants (tenant_id) VALUES (%s)", (TENANT,))
    ((end,),) = hand.execute("SELECT date_trunc('minute', now())").fetchall()
    days = "SELECT d, d + interval '1 day' FROM generate_series(%s - interval '30 days', %s, interval '1 day') AS d"
    for since, until in hand.execute(days, (end, end)).fetchall():
        hand.execute("SELECT ensure_telemetry_day(%s)", (since.date(),))
        for each in fleets if since < end else ():
            hand.execute("SELECT ensure_telemetry_day(%s)", (until.date(),))
            values = {"kind": each.kind, "devices": each.devices, "step": each.step_s, "since": since, "until": until}
            hand.execute(_FILL, values)
        say(f"telemetry: filled {since:%m-%d}")
    hand.execute("VACUUM ANALYZE telemetry")


async def measured(database: Database, busy: Fleet, quiet: Fleet) -> list[Figure]:
    """All figures."""
    readings = busy.readings + quiet.readings
    async with opened(database) as (store, pool):
        with database.superuser() as hand:
            raw = bytes_of(hand, "telemetry")
            hand.execute(_MARK)
            hand.execute("VACUUM ANALYZE telemetry_marks")
        before = await month(store, busy, 5)
        say("telemetry: rolling up")
        worker, rolled = await rolling(pool)
        with database.superuser() as hand:
            hand.execute("VACUUM ANALYZE telemetry_hours")
            added = bytes_of(hand, "telemetry_hours")
        say("telemetry: asking")
        found = [
            chart("last hour, by 15 s", await last_hour(store, busy), AIM_HOUR_MS, readings),
            chart("30 days, by 4 h", await month(store, busy), AIM_MONTH_MS, readings, f"{before.at(0.5):.0f} ms"),
            chart("30 days, by 4 h, a reading an hour", await month(store, quiet), AIM_MONTH_MS, readings),
            chart("7 days, by 30 min", await week(store, busy), AIM_MONTH_MS, readings),
            await latest(store, quiet),
            size(raw, added, readings * len(NAMES), rolled * len(NAMES)),
            worker,
            await pages(store),
        ]
    return [*found, await ingestion(database)]


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[tuple[PostgresTelemetryStore, asyncpg.Pool[Any]]]:
    """The store, as the pipeline has it."""
    pool = await open_pool(database.dsn("pulse_pipeline"), name="bench")
    store = PostgresTelemetryStore(PluginConfig())
    await store.open(pool)
    try:
        yield store, pool
    finally:
        await pool.close()


def bytes_of(hand: psycopg.Connection[Any], table: str) -> int:
    """On disk, with indexes."""
    row = hand.execute(_BYTES, (table,)).fetchone()
    return int(row[0] or 0) if row else 0


class Took(NamedTuple):
    """How long each of many questions took, and the CPU time of one, the database's included."""

    each_ms: list[float]
    cpu_ms: float

    def __str__(self) -> str:
        p50, p95 = self.at(0.5), self.at(0.95)
        return f"p50 {p50:.1f} ms, p95 {p95:.1f} ms; CPU of it all: {self.cpu_ms:.0f} ms"

    def at(self, part: float) -> float:
        """A percentile."""
        return percentile(self.each_ms, part)


async def took(ask: Callable[[int], Awaitable[object]], times: int = ASKED_TIMES) -> Took:
    """Ask so often, one after the other."""
    each_ms, cpu = [], cpu_ms()
    for number in range(times):
        began = time.perf_counter()
        await ask(number)
        each_ms.append(1000 * (time.perf_counter() - began))
    return Took(each_ms, (cpu_ms() - cpu) / times)


def cpu_ms() -> float:
    """What we and the database, which is our child, have taken so far."""
    me = psutil.Process()
    spent = 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            spent += cpu_s(process)
    return 1000 * spent


async def asked(store: PostgresTelemetryStore, fleet: Fleet, hours: int, bucket_s: int, times: int) -> Took:
    """Three metrics of a device by average, lowest and highest, exactly."""

    async def ask(number: int) -> None:
        now_us = time.time_ns() // 1000
        found = await store.series(
            fleet.key(number),
            NAMES,
            start_us=now_us - hours * HOUR_US,
            end_us=now_us,
            bucket_us=bucket_s * 1_000_000,
            aggregates=[Aggregate.AVG, Aggregate.MIN, Aggregate.MAX],
        )
        assert found.one_in == 1
        assert len(found.series[0].starts_us) > 100

    return await took(ask, times)


async def last_hour(store: PostgresTelemetryStore, fleet: Fleet) -> Took:
    """The chart that is shown first."""
    return await asked(store, fleet, 1, 15, ASKED_TIMES)


async def week(store: PostgresTelemetryStore, fleet: Fleet) -> Took:
    """By minutes."""
    return await asked(store, fleet, 7 * 24, 1800, ASKED_TIMES)


async def month(store: PostgresTelemetryStore, fleet: Fleet, times: int = ASKED_TIMES) -> Took:
    """The longest chart."""
    return await asked(store, fleet, DAYS * 24, 4 * 3600, times)


async def latest(store: PostgresTelemetryStore, fleet: Fleet) -> Figure:
    """What 10,000 devices said last."""
    devices = [fleet.key(number) for number in range(fleet.devices)]

    async def ask(_: int) -> None:
        found = await store.latest(devices, since_us=time.time_ns() // 1000 - 24 * HOUR_US)
        assert all(len(each) == len(NAMES) for each in found.values())

    found = await took(ask, 10)
    return Figure(
        f"Latest values of {len(devices):,} devices",
        str(found),
        f"p50 ≤ {AIM_LATEST_MS:.0f} ms",
        found.at(0.5) <= AIM_LATEST_MS,
    )


async def rolling(pool: asyncpg.Pool[Any]) -> tuple[Figure, int]:
    """Roll everything up, and how many readings that was."""
    hours, readings, began, cpu, worst = 0, 0, time.perf_counter(), time.process_time(), 0.0
    while True:
        at = time.perf_counter()
        step = await roll_up(pool)
        if not step.hours:
            break
        hours, readings, worst = hours + step.hours, readings + step.readings, max(worst, time.perf_counter() - at)
    lasted, cpu = time.perf_counter() - began, time.process_time() - cpu
    each = 1e6 * cpu / max(1, readings)
    told = (
        f"{readings / lasted:,.0f} readings/s ({hours:,} hours); CPU a reading: {each:.1f} µs; worst step {worst:.2f} s"
    )
    return Figure("Rolling up, without a rest", told, "-", met=True), readings


def chart(what: str, found: Took, aim_ms: float, readings: int, limit: str = "-") -> Figure:
    """One chart's line."""
    return Figure(
        f"{what}: three metrics of one of the devices, {readings / 1e6:.1f} million readings",
        str(found),
        f"p95 ≤ {aim_ms:.0f} ms",
        found.at(0.95) <= aim_ms,
        limit if limit == "-" else f"{limit}: before it was rolled up",
    )


def size(raw: int, added: int, values: int, rolled: int) -> Figure:
    """What is on disk."""
    each, more = raw / values, added / max(1, rolled)
    return Figure(
        "On disk, a metric's value, with indexes",
        f"{each + added / values:.1f} bytes, of which roll-ups {added / values:.1f} ({more:.1f} of those rolled up)",
        f"≤ {AIM_BYTES}",
        each + added / values <= AIM_BYTES,
    )


async def pages(store: PostgresTelemetryStore) -> Figure:
    """All readings of a day, page by page."""
    now_us = time.time_ns() // 1000
    wanted, after, rows, began = Selection(TENANT, now_us - 48 * HOUR_US, now_us), None, 0, time.perf_counter()
    while page := await store.select(wanted, limit=10_000, after=after):
        rows, after = rows + len(page), page[-1].place
    rate = rows / (time.perf_counter() - began)
    return Figure(
        f"Pages of all devices, {rows:,} readings", f"{rate:,.0f} readings/s", f"≥ {AIM_EXPORT:,}", rate >= AIM_EXPORT
    )


async def ingestion(database: Database) -> Figure:
    """What lanes commit with and without marks, in turn."""
    devices = [f"{TENANT}/lane-{number}" for number in range(BATCH)]
    register(database, *devices)
    pool = await open_pool(database.dsn("pulse_pipeline"), name="bench lanes")
    rates: dict[str, list[float]] = {"with": [], "without": []}
    stores = {"with": PostgresTelemetryStore(PluginConfig()), "without": Unmarked(PluginConfig())}
    for store in stores.values():
        await store.open(pool)
    chance = random.Random(1)
    for number in range(2 * ROUNDS):
        name = ("with", "without")[number % 2 ^ number // 2 % 2]
        lane = await PostgresLaneStores(database.dsn("pulse_pipeline"), stores[name]).open(0, range(64))
        batches = [batch_of(devices, chance) for _ in range(BATCHES)]
        began = time.perf_counter()
        for each in batches:
            await lane.commit(each)
        rates[name].append(BATCHES * BATCH / (time.perf_counter() - began))
        await lane.close()
    await pool.close()
    marked, plain = (percentile(rates[name], 0.5) for name in ("with", "without"))
    return Figure(
        f"One lane commits batches of {BATCH:,}, a reading of each device",
        f"{marked:,.0f} readings/s",
        f"≥ {AIM_RATIO} of that without roll-ups",
        marked >= AIM_RATIO * plain,
        f"{plain:,.0f} readings/s without roll-ups",
        marked / plain,
    )


def batch_of(devices: list[str], chance: random.Random) -> WriteSet:
    """A reading of each device, now."""
    writes = WriteSet()
    for name in devices:
        now_us = time.time_ns() // 1000 - chance.randrange(1_000_000)
        metrics = {each: chance.random() for each in NAMES}
        writes.readings.append(
            reading(
                name, ts_us=now_us, key_hash=chance.getrandbits(62), metrics=metrics, metrics_json=json.dumps(metrics)
            )
        )
        writes.states.append(state(name))
    return writes
