"""The store in InfluxDB beyond the contract: what is refused, what is away, what is full, and what is forgotten."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from influxdb_client_3 import InfluxDBClient3
from pydantic import ValidationError

from pulse_core.api import (
    Aggregate,
    ConfigError,
    DeviceKey,
    PermanentFailure,
    ReadingKey,
    ReadingsRefused,
    Selection,
    StoreUnavailable,
)
from pulse_core.testing.telemetry_stores import DAY_US, DEVICE, a_reading
from pulse_influxdb.config import InfluxConfig
from pulse_influxdb.names import DAY_US as TABLE_US
from pulse_influxdb.names import readings_of
from pulse_influxdb.server import LinesRefusedError
from pulse_influxdb.store import InfluxTelemetryStore
from support.influx_server import InfluxServer, influx_server
from support.influx_stores import config_for, influx_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pulse_core.api import Reading, StoredReading

HOUR_US = 3_600_000_000
NOON_US = time.time_ns() // 1000 // TABLE_US * TABLE_US - TABLE_US // 2
"""Yesterday's: what is some hours before and after it is of the same day."""


@pytest.fixture
async def server() -> AsyncIterator[InfluxServer]:
    async with influx_server() as one:
        yield one


def saying(ts_us: int, device: DeviceKey = DEVICE, **metrics: Any) -> Reading:
    return a_reading(ts_us, device, metrics_json=msgspec.json.encode(metrics).decode())


async def everything(store: InfluxTelemetryStore, device: DeviceKey = DEVICE) -> list[StoredReading]:
    return await store.history(device, start_us=0, end_us=NOON_US + 2 * DAY_US, limit=10_000)


async def back(store: InfluxTelemetryStore, key: ReadingKey) -> set[int]:
    """Ask until there is an answer, as a lane does."""
    while True:
        try:
            return await store.known([key])
        except StoreUnavailable:
            await asyncio.sleep(0.05)


def by_hand(server: InfluxServer, database: str) -> InfluxDBClient3:
    return InfluxDBClient3(host=server.url, token=server.token, database=database)


async def test_values_of_one_name_keep_their_kinds(server: InfluxServer) -> None:
    """A device that says 20, then 20.5, then "off", is an honest one: nothing of it is refused."""
    said: list[Any] = [20, 20.0, 20.5, "off", True, 2**63 - 1, -(2**63), 5e-324, -0.0, ""]
    async with influx_store(server) as store:
        await store.write([saying(NOON_US + number, t=value) for number, value in enumerate(said)], None)
        found = [each.metrics["t"] for each in reversed(await everything(store))]
    assert [(type(each), repr(each)) for each in found] == [(type(each), repr(each)) for each in said]


async def test_a_line_that_does_not_fit_is_refused_alone(server: InfluxServer) -> None:
    """Somebody else's column has the name of one of ours: the readings of that day are told of, by their places."""
    async with influx_store(server, tenancy="shared") as store:
        table = readings_of(NOON_US // TABLE_US)
        await asyncio.to_thread(by_hand(server, "pulsetest").write, f"{table} site_id=7i {NOON_US * 1000}")
        readings = [saying(NOON_US - DAY_US), saying(NOON_US), saying(NOON_US - 2 * DAY_US), saying(NOON_US + 1)]
        with pytest.raises(ReadingsRefused) as refused:
            await store.write(readings, None)
        assert refused.value.refused.keys() == {1, 3}
        assert "site_id" in refused.value.refused[1]
        keys = [ReadingKey(DEVICE, each.ts_us, each.key_hash) for each in (readings[0], readings[2])]
        assert await store.known(keys) == {0, 1}


async def test_a_text_that_is_too_long_is_refused_alone(server: InfluxServer) -> None:
    async with influx_store(server) as store:
        readings = [saying(NOON_US), saying(NOON_US + 1, t="x" * 70_000), saying(NOON_US + 2)]
        with pytest.raises(ReadingsRefused) as refused:
            await store.write(readings, None)
        assert list(refused.value.refused) == [1]
        assert "64KB" in refused.value.refused[1]
        assert [each.ts_us for each in await everything(store)] == [NOON_US + 2, NOON_US]


async def test_what_is_refused_without_saying_which_is_tried_by_halves(
    server: InfluxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with influx_store(server) as store:
        write = store.server.write

        async def picky(database: str, lines: Sequence[str]) -> None:
            if len(lines) > 2 or any('seq="13"' in line for line in lines):
                raise LinesRefusedError("too much", {})
            await write(database, lines)

        monkeypatch.setattr(store.server, "write", picky)
        readings = [a_reading(NOON_US + number, seq=number) for number in range(20)]
        with pytest.raises(ReadingsRefused) as refused:
            await store.write(readings, None)
        assert refused.value.refused == {13: "too much"}
        assert len(await everything(store)) == 19


async def test_nothing_is_acknowledged_while_the_server_is_away(server: InfluxServer) -> None:
    """And all is well when it is back; what was taken without a word is the same when it is written again."""
    reading = saying(NOON_US, t=1)
    key = ReadingKey(DEVICE, NOON_US, NOON_US)
    async with influx_store(server) as store:
        server.mood = "unavailable"
        for work in (store.write([reading], None), store.known([key]), everything(store), store.size("tenant-a")):
            with pytest.raises(StoreUnavailable):
                await work
        await server.stop()
        for work in (store.write([reading], None), store.known([key]), everything(store), store.open_tenant("x")):
            with pytest.raises(StoreUnavailable):
                await work
        await server.start()
        server.mood = "silent"
        with pytest.raises(StoreUnavailable):
            await store.write([reading], None)
        server.mood = "well"
        assert await asyncio.wait_for(back(store, key), 5) == {0}
        await store.write([reading], None)
        assert len(await everything(store)) == 1


async def test_a_store_opens_while_the_server_is_away(server: InfluxServer) -> None:
    await server.stop()
    store = InfluxTelemetryStore(config_for(server))
    await store.open(None)
    with pytest.raises(StoreUnavailable):
        await store.write([saying(NOON_US)], None)
    await server.start()
    await store.write([saying(NOON_US)], None)
    assert len(await everything(store)) == 1
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.write([saying(NOON_US)], None)


async def test_a_server_that_hangs_is_not_waited_for(server: InfluxServer) -> None:
    """A lane must not go on without knowing; whoever reads is told to ask for less."""
    async with influx_store(server, write_timeout_s=0.3, query_timeout_s=0.3) as store:
        await store.write([saying(NOON_US)], None)
        server.mood = "hanging"
        with pytest.raises(StoreUnavailable):
            await store.write([saying(NOON_US)], None)
        with pytest.raises(StoreUnavailable):
            await store.known([ReadingKey(DEVICE, NOON_US, NOON_US)])
        with pytest.raises(PermanentFailure, match=r"takes longer than 0\.3 s"):
            await store.select(Selection("tenant-a", 0, NOON_US + 1), limit=1)
        server.mood = "well"


async def test_a_wrong_token_is_the_operators_to_mend(server: InfluxServer) -> None:
    async with influx_store(server) as store:
        await store.write([saying(NOON_US)], None)
        server.token = "apiv3_another"
        for work in (store.write([saying(NOON_US)], None), everything(store), store.open_tenant("x")):
            with pytest.raises(StoreUnavailable, match="refuses our token"):
                await work
        with pytest.raises(StoreUnavailable, match="refuses our token"):
            await InfluxTelemetryStore.check(store.config.model_copy(update={"tenancy": "shared"}))
        await InfluxTelemetryStore.check(config_for(server))
        server.token = "apiv3_of-the-stand-in"


async def test_a_tenant_too_many(server: InfluxServer) -> None:
    """It is told what to do; its readings are refused, and nobody else's."""
    async with influx_store(server) as store:
        for number in range(5):
            await store.open_tenant(f"tenant-{number}")
        await store.open_tenant("tenant-0")
        with pytest.raises(PermanentFailure, match='tenancy = "shared"'):
            await store.open_tenant("tenant-5")
        first, late = DeviceKey("tenant-0", "d"), DeviceKey("tenant-5", "d")
        with pytest.raises(ReadingsRefused) as refused:
            await store.write([saying(NOON_US, first), saying(NOON_US, late), saying(NOON_US + 1, late)], None)
        assert refused.value.refused.keys() == {1, 2}
        assert len(await everything(store, first)) == 1
        await store.forget_tenant("tenant-1")
        await store.open_tenant("tenant-5")


async def test_a_server_full_of_others_is_found_at_the_start(server: InfluxServer) -> None:
    for number in range(5):
        server.store.create(f"theirs{number}")
    store = InfluxTelemetryStore(config_for(server))
    with pytest.raises(ConfigError, match='tenancy = "shared"'):
        await store.open(None)
    await store.close()
    sharing = InfluxTelemetryStore(config_for(server, tenancy="shared"))
    with pytest.raises(ConfigError, match="shared_database"):
        await sharing.open(None)
    await sharing.close()


async def test_long_times_are_asked_in_parts(server: InfluxServer) -> None:
    """As InfluxDB 3 Core has it: a query that reads too many files is refused."""
    readings = [saying(NOON_US - number * HOUR_US // 6, t=number) for number in range(6 * 24 * 2)]
    asked: Any = {"start_us": 0, "end_us": NOON_US + 1, "bucket_us": 48 * HOUR_US, "aggregates": list(Aggregate)}
    async with influx_store(server, query_range_h=24) as store:
        await store.write(readings, None)
        whole = (await store.series(DEVICE, ["t"], **asked)).series
        server.query_file_limit = 100
        with pytest.raises(PermanentFailure, match="ask for less"):
            await store.series(DEVICE, ["t"], **asked)
    store = InfluxTelemetryStore(config_for(server, query_range_h=12))
    await store.open(None)
    assert (await store.series(DEVICE, ["t"], **asked)).series == whole
    assert sum(whole[0].values["count"]) == len(readings)
    assert len(await everything(store)) == len(readings)
    wanted = Selection("tenant-a", 0, NOON_US + 1)
    page = await store.select(wanted, limit=100)
    rest = await store.select(wanted, limit=1000, after=page[-1].place)
    assert [each.place.ts_us for each in page + rest] == sorted(each.ts_us for each in readings)
    await store.close()


async def test_a_page_of_one_device_asks_no_more_days_than_it_needs(server: InfluxServer) -> None:
    """An export of a long time is many pages."""
    readings = [saying(NOON_US - number * DAY_US) for number in range(30)]
    wanted = Selection("tenant-a", 0, NOON_US + 1, devices=("pump-7",))
    async with influx_store(server, query_range_h=24) as store:
        await store.write(readings, None)
        found: list[int] = []
        before, after = server.queries, None
        while page := await store.select(wanted, limit=10, after=after):
            found += [each.place.ts_us for each in page]
            after = page[-1].place
        assert server.queries - before <= 30 + 3 + 2 * 4, "each day, the day where a page began, and the tables"
    assert found == sorted(each.ts_us for each in readings)


async def test_writes_go_side_by_side(server: InfluxServer) -> None:
    """A server that takes a second to keep what it is told takes one for all of them."""
    server.flush_s = 0.5
    async with influx_store(server, lines_per_write=1, writes_at_once=6) as store:
        readings = [saying(NOON_US + number, DeviceKey(f"tenant-{number % 2}", "d")) for number in range(6)]
        writing = asyncio.create_task(store.write(readings, None))
        while server.waiting < len(readings):  # noqa: ASYNC110 - it counts, and tells nobody
            await asyncio.sleep(0.01)
        await writing
        assert (await store.size()).readings == len(readings)


@pytest.mark.parametrize("tenancy", ["database", "shared"])
async def test_what_is_forgotten_is_in_no_answer(server: InfluxServer, tenancy: str) -> None:
    other = DeviceKey("tenant-a", "other")
    time_of: Any = {"start_us": 0, "end_us": NOON_US + 1}
    async with influx_store(server, tenancy=tenancy) as store:
        await store.write([saying(NOON_US - n * DAY_US, each, t=n) for n in range(3) for each in (DEVICE, other)], None)
        await store.forget_device(DEVICE)
        both = Selection("tenant-a", 0, NOON_US + 1, metrics=("t",))
        assert {each.place.device_id for each in await store.select(both, limit=100)} == {"other"}
        assert await store.metric_names(DEVICE, **time_of) == []
        assert await store.metrics_of(both) == {"t": 1}
        assert (await store.latest([DEVICE, other], since_us=0))[DEVICE] == {}
        assert (await store.recent([DEVICE], since_us=0, end_us=NOON_US + 1, limit=9))[DEVICE] == []
        assert await store.known([ReadingKey(DEVICE, NOON_US, NOON_US), ReadingKey(other, NOON_US, NOON_US)]) == {1}
        counted: Any = {"bucket_us": DAY_US, "aggregates": [Aggregate.COUNT]}
        assert not (await store.series(DEVICE, ["t"], **time_of, **counted)).series[0].starts_us
        assert list(await store.grouped(both, {"pump-7": "a", "other": "b"}, **counted)) == ["b"]
        assert (await store.size("tenant-a")).readings == 3
        await store.forget_tenant("tenant-a")
        assert (await store.size()).readings == 0


async def test_marks_of_what_was_forgotten_go_with_the_days_they_hide(server: InfluxServer) -> None:
    async with influx_store(server) as store:
        await store.write([saying(NOON_US)], None)
        await store.forget_device(DEVICE)
        database = store.database("tenant-a")
        assert (await store.tables(database)).forgotten
        assert await store.drop_before(NOON_US + DAY_US) == 1
        assert (await store.tables(database)).forgotten
        await store.drop_before(NOON_US + 4 * DAY_US)
        assert not (await store.tables(database)).forgotten


async def test_a_day_that_goes_while_it_is_asked_is_asked_again(
    server: InfluxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with influx_store(server) as store:
        await store.write([saying(NOON_US), saying(NOON_US - DAY_US)], None)
        old = await store.tables(store.database("tenant-a"))
        await store.drop_before(NOON_US)
        tables, seen = store.tables, []

        async def late(database: str) -> Any:
            seen.append(database)
            return old if len(seen) == 1 else await tables(database)

        monkeypatch.setattr(store, "tables", late)
        assert [each.ts_us for each in await everything(store)] == [NOON_US]
        assert len(seen) == 2


async def test_many_groups_are_put_together_here(server: InfluxServer) -> None:
    """The last of one moment is the last device's."""
    devices = [DeviceKey("tenant-a", f"d{number:02}") for number in range(40)]
    groups = {each.device_id: f"g{number // 2:02}" for number, each in enumerate(devices)}
    async with influx_store(server) as store:
        await store.write([saying(NOON_US, each, t=number) for number, each in enumerate(devices)], None)
        wanted = Selection("tenant-a", 0, NOON_US + 1, metrics=("t",))
        found = await store.grouped(wanted, groups, bucket_us=HOUR_US, aggregates=list(Aggregate))
    assert list(found) == sorted(set(groups.values()))
    assert found["g03"][0].values == {
        "avg": [6.5],
        "min": [6],
        "max": [7],
        "sum": [13],
        "count": [2],
        "first": [6],
        "last": [7],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://influx:8181/path"},
        {"url": "influx:8181"},
        {"token": "${INFLUXDB_TOKEN}"},
        {"token": "two words"},
        {"tenancy": "both"},
        {"database_prefix": "_internal"},
        {"shared_database": "a.b"},
    ],
)
def test_a_configuration_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        InfluxConfig.model_validate({"url": "http://influx:8181", "token": "t", **wrong})
    assert "two words" not in str(refused.value)


@pytest.mark.parametrize("missing", ["url", "token"])
async def test_what_is_needed_is_asked_for(missing: str) -> None:
    given = {"url": "http://influx:8181", "token": "t"}
    del given[missing]
    with pytest.raises(ConfigError, match=f"plugins.influxdb.{missing}"):
        await InfluxTelemetryStore(InfluxConfig.model_validate(given)).open(None)
