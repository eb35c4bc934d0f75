"""The contract of a telemetry store. Inherit it, say how to open the store, and run pytest::

    class TestInfluxContract(TelemetryStoreContract):
        @asynccontextmanager
        async def opened(self):
            store = InfluxStore(InfluxConfig(url=…))
            await store.open(None)
            yield store
            await store.close()

A store that shares the batch's PostgreSQL transaction overrides :meth:`TelemetryStoreContract.transaction` as well.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import Aggregate, DeviceKey, MsgType, Reading, ReadingKey, TelemetryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from pulse_core.api import StoredReading
    from pulse_core.records import MetricValue

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 86_400 * SECOND_US
DEVICE = DeviceKey("tenant-a", "pump-7")

_ODD_METRICS: dict[str, MetricValue] = {
    "temp": 21.5,
    "count": 9_007_199_254_740_991,
    "tiny": -1e-9,
    "on": True,
    "off": False,
    "text": "Grüße, 温度, \"quoted\" \\ 'single' \n line 🚨",
    "empty": "",
}


def a_reading(ts_us: int, device: DeviceKey = DEVICE, **changes: Any) -> Reading:
    """Return a telemetry reading of ``device``, changed as you say. Its ``key_hash`` is its ``ts_us``."""
    reading = Reading(
        device=device,
        ts_us=ts_us,
        key_hash=ts_us,
        received_us=ts_us,
        msg_type=MsgType.TELEMETRY,
        site_id="site-1",
        seq=None,
        metrics={},
        metrics_json="{}",
        source="http",
    )
    return msgspec.structs.replace(reading, **changes)


class TelemetryStoreContract(ABC):
    """What every telemetry store must do."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[TelemetryStore]:
        """Open an empty store, and close it."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Give what :meth:`TelemetryStore.write` takes as ``transaction``, and commit it."""
        yield None

    async def keep(self, store: TelemetryStore, readings: Sequence[Reading]) -> None:
        """Write as a lane does: prepare, then write in a transaction."""
        await store.prepare(readings)
        async with self.transaction() as transaction:
            await store.write(readings, transaction)

    async def test_a_reading_comes_back_as_it_was(self) -> None:
        """Every field that is kept, at its full precision."""
        now = _now_us() + 123_457 - SECOND_US
        text = msgspec.json.encode(_ODD_METRICS).decode()
        written = a_reading(
            now, received_us=now + 7, seq=2**62, msg_type=MsgType.EVENT, metrics=_ODD_METRICS, metrics_json=text
        )
        async with self.opened() as store:
            await self.keep(store, [written])
            (found,) = await _all_of(store)
        assert (found.ts_us, found.received_us, found.seq) == (now, now + 7, 2**62)
        assert (found.msg_type, found.site_id) == ("event", "site-1")
        assert found.metrics == _ODD_METRICS
        assert {name: type(value) for name, value in found.metrics.items() if isinstance(value, bool)} == {
            "on": bool,
            "off": bool,
        }

    async def test_the_same_again_changes_nothing(self) -> None:
        """A batch whose outcome is unknown is written again; so is a reading twice in one batch."""
        now = _now_us()
        readings = [a_reading(now - number) for number in range(10)]
        async with self.opened() as store:
            await self.keep(store, readings)
            await self.keep(store, [*readings, *readings, a_reading(now - 10)])
            assert len(await _all_of(store)) == len(readings) + 1

    async def test_an_empty_batch_is_fine(self) -> None:
        """Batches of wake-ups hold no readings."""
        async with self.opened() as store:
            await self.keep(store, [])
            assert await store.known([]) == set()

    async def test_several_readings_of_one_moment_are_all_kept(self) -> None:
        """Only the hash tells them apart."""
        now = _now_us()
        async with self.opened() as store:
            await self.keep(store, [a_reading(now, key_hash=number) for number in (-(2**63), -1, 0, 2**63 - 1)])
            assert len(await _all_of(store)) == 4  # noqa: PLR2004 - as many as were written

    async def test_readings_old_and_a_little_ahead_are_kept(self) -> None:
        """Down to the retention, and up to 10 minutes ahead: as admission lets them through."""
        now = _now_us()
        moments = [now + 10 * MINUTE_US, now, now - DAY_US, now - 40 * DAY_US, now - 89 * DAY_US]
        async with self.opened() as store:
            await self.keep(store, [a_reading(moment, received_us=now) for moment in moments])
            assert [found.ts_us for found in await _all_of(store)] == moments

    async def test_known_is_exact(self) -> None:
        """Another device, tenant, time or hash is another reading."""
        now = _now_us()
        keys = [
            ReadingKey(DEVICE, now, 1),
            ReadingKey(DEVICE, now, 2),
            ReadingKey(DEVICE, now + 1, 1),
            ReadingKey(DEVICE, now - 50 * DAY_US, 1),
            ReadingKey(DeviceKey("tenant-b", "pump-7"), now, 1),
            ReadingKey(DeviceKey("tenant-a", "pump-8"), now, 1),
            ReadingKey(DEVICE, now, 1),
        ]
        async with self.opened() as store:
            await self.keep(store, [a_reading(now, key_hash=1), a_reading(now - DAY_US, key_hash=2)])
            assert await store.known(keys) == {0, 6}

    async def test_known_since_looks_at_every_time_from_then_on(self) -> None:
        """So a redelivery of a message without ``ts`` is recognised by its hash."""
        now = _now_us()
        async with self.opened() as store:
            await self.keep(store, [a_reading(now, key_hash=1), a_reading(now - MINUTE_US, key_hash=2)])
            keys = [
                ReadingKey(DEVICE, now + SECOND_US, 1, since_us=now),
                ReadingKey(DEVICE, now + SECOND_US, 1, since_us=now + 1),
                ReadingKey(DEVICE, now + SECOND_US, 2, since_us=now - MINUTE_US),
                ReadingKey(DEVICE, now + SECOND_US, 2, since_us=now),
                ReadingKey(DEVICE, now + SECOND_US, 3, since_us=now - DAY_US),
                ReadingKey(DEVICE, now, 1, since_us=now - 30 * DAY_US),
            ]
            assert await store.known(keys) == {0, 2, 5}

    async def test_history_is_of_one_device_and_time(self) -> None:
        """Newest first, ``start`` included, ``end`` not."""
        now = _now_us()
        other = [a_reading(now, DeviceKey("tenant-b", "pump-7")), a_reading(now, DeviceKey("tenant-a", "pump-8"))]
        async with self.opened() as store:
            await self.keep(store, [*(a_reading(now + number) for number in range(5)), *other])
            found = await store.history(DEVICE, start_us=now + 1, end_us=now + 4, limit=100)
        assert [reading.ts_us for reading in found] == [now + 3, now + 2, now + 1]

    async def test_pages_of_history_miss_nothing(self) -> None:
        """Readings of the same moment included, wherever a page ends."""
        now = _now_us()
        written = [a_reading(now - number // 3, key_hash=number, seq=number) for number in range(20)]
        async with self.opened() as store:
            await self.keep(store, written)
            seen: list[StoredReading] = []
            before_us = None
            while page := await store.history(DEVICE, start_us=0, end_us=now + 1, limit=4, before_us=before_us):
                assert len(page) < len(written)
                seen += page
                before_us = page[-1].ts_us
        assert sorted(reading.seq or 0 for reading in seen) == list(range(20))
        assert [reading.ts_us for reading in seen] == sorted((reading.ts_us for reading in seen), reverse=True)

    async def test_numbers_come_in_buckets(self) -> None:
        """Every aggregate, of [start, end), of one device, in buckets that begin at multiples of their length."""
        start = _now_us() // MINUTE_US * MINUTE_US - 10 * MINUTE_US
        given = [(-1, 99), (0, 4), (SECOND_US, 1.5), (30 * SECOND_US, 2), (2 * MINUTE_US, -7), (3 * MINUTE_US, 99)]
        readings = [_saying(start + after, t=value) for after, value in given]
        theirs = [_saying(start, DeviceKey(*whose), t=50) for whose in (("tenant-b", "pump-7"), ("tenant-a", "x"))]
        async with self.opened() as store:
            await self.keep(store, [*readings, *theirs])
            found = await store.series(
                DEVICE,
                ["t"],
                start_us=start,
                end_us=start + 3 * MINUTE_US,
                bucket_us=MINUTE_US,
                aggregates=list(Aggregate),
            )
        (series,) = found.series
        assert (series.metric, found.one_in) == ("t", 1)
        assert series.starts_us == [start, start + 2 * MINUTE_US], "a bucket without a value is left out"
        assert series.values == {
            "avg": [2.5, -7],
            "min": [1.5, -7],
            "max": [4, -7],
            "sum": [7.5, -7],
            "count": [3, 1],
            "first": [4, -7],
            "last": [2, -7],
        }

    async def test_only_numbers_are_counted(self) -> None:
        """Whatever else stands under the name; a series for each name that is asked for, in that order."""
        now = _now_us() - MINUTE_US
        said: list[MetricValue] = [True, "7", 3, ""]
        readings = [_saying(now + n, t=value, u=2 * n) for n, value in enumerate(said)]
        odd_name = 'it\'s "odd" %s $1'
        readings.append(a_reading(now + 9, metrics_json=msgspec.json.encode({odd_name: 1}).decode()))
        async with self.opened() as store:
            await self.keep(store, readings)
            found = await store.series(
                DEVICE,
                ["u", "no", "t"],
                start_us=now,
                end_us=now + SECOND_US,
                bucket_us=3600 * SECOND_US,
                aggregates=[Aggregate.COUNT, Aggregate.LAST],
            )
            names = await store.metric_names(DEVICE, start_us=now, end_us=now + SECOND_US)
            none = await store.metric_names(DeviceKey("tenant-b", "pump-7"), start_us=now, end_us=now + SECOND_US)
        assert [(each.metric, each.values) for each in found.series] == [
            ("u", {"count": [4], "last": [6]}),
            ("no", {"count": [], "last": []}),
            ("t", {"count": [1], "last": [3]}),
        ]
        assert (names, none) == ([odd_name, "t", "u"], [])

    async def test_the_newest_readings_of_several_devices(self) -> None:
        """A key for each, also for one that said nothing."""
        now = _now_us()
        devices = [DEVICE, DeviceKey("tenant-a", "pump-8"), DeviceKey("tenant-a", "silent")]
        readings = [_saying(now - n, device, t=n) for n in range(5) for device in devices[:2]]
        async with self.opened() as store:
            await self.keep(store, [*readings, _saying(now, DeviceKey("tenant-b", "pump-7"), t=9)])
            found = await store.recent(devices, since_us=now - 3, end_us=now, limit=2)
        assert [[each.metrics["t"] for each in found[device]] for device in devices] == [[1, 2], [1, 2], []]

    async def test_retention_forgets_the_old_and_only_the_old(self) -> None:
        """How exactly is the store's own matter, up to a day; what is forgotten may be written again."""
        now = _now_us()
        old, young = a_reading(now - 30 * DAY_US), a_reading(now - 8 * DAY_US)
        async with self.opened() as store:
            await self.keep(store, [old, young])
            assert await store.drop_before(now - 10 * DAY_US) > 0
            assert [reading.ts_us for reading in await _all_of(store)] == [young.ts_us]
            assert await store.known([ReadingKey(DEVICE, old.ts_us, old.key_hash)]) == set()
            assert await store.drop_before(now - 10 * DAY_US) == 0
            await self.keep(store, [old])
            assert len(await _all_of(store)) == len([old, young])


def _saying(ts_us: int, device: DeviceKey = DEVICE, **metrics: MetricValue) -> Reading:
    return a_reading(ts_us, device, metrics=metrics, metrics_json=msgspec.json.encode(metrics).decode())


async def _all_of(store: TelemetryStore, device: DeviceKey = DEVICE) -> list[StoredReading]:
    return await store.history(device, start_us=0, end_us=_now_us() + DAY_US, limit=1000)


def _now_us() -> int:
    return time.time_ns() // 1000
