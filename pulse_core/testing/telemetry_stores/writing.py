"""What is written is kept once, known, and read back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pulse_core.api import DeviceKey, MsgType, ReadingKey
from pulse_core.testing.telemetry_stores.opening import OpenedStore, all_of, whole_history
from pulse_core.testing.telemetry_stores.readings import (
    DAY_US,
    DEVICE,
    MINUTE_US,
    OTHER_TENANT,
    SECOND_US,
    a_reading,
    now_us,
)

if TYPE_CHECKING:
    from pulse_core.api import Reading
    from pulse_core.records import MetricValue

_ODD_METRICS: dict[str, MetricValue] = {
    "temp": 21.5,
    "count": 9_007_199_254_740_991,
    "tiny": -1e-9,
    "on": True,
    "off": False,
    "text": "Grüße, 温度, \"quoted\" \\ 'single' \n line 🚨",
    "empty": "",
}


class WritingContract(OpenedStore):
    """Of readings that are written, and of the history of a device."""

    async def test_a_reading_comes_back_as_it_was(self) -> None:
        """Every field that is kept, at its full precision."""
        now = now_us() + 123_457 - SECOND_US
        text = msgspec.json.encode(_ODD_METRICS).decode()
        written = a_reading(
            now, received_us=now + 7, seq=2**62, msg_type=MsgType.EVENT, metrics=_ODD_METRICS, metrics_json=text
        )
        async with self.opened() as store:
            await self.keep(store, [written])
            (found,) = await all_of(store)
        assert (found.ts_us, found.received_us, found.seq) == (now, now + 7, 2**62)
        assert (found.msg_type, found.site_id) == ("event", "site-1")
        assert found.metrics == _ODD_METRICS
        assert {name: type(value) for name, value in found.metrics.items() if isinstance(value, bool)} == {
            "on": bool,
            "off": bool,
        }

    async def test_the_same_again_changes_nothing(self) -> None:
        """A batch whose outcome is unknown is written again; so is a reading twice in one batch."""
        now = now_us()
        readings = [a_reading(now - number) for number in range(10)]
        async with self.opened() as store:
            await self.keep(store, readings)
            await self.keep(store, [*readings, *readings, a_reading(now - 10)])
            assert len(await all_of(store)) == len(readings) + 1

    async def test_an_empty_batch_is_fine(self) -> None:
        """Batches of wake-ups hold no readings."""
        async with self.opened() as store:
            await self.keep(store, [])
            assert await store.known([]) == set()

    async def test_several_readings_of_one_moment_are_all_kept(self) -> None:
        """Only the hash tells them apart."""
        now = now_us()
        async with self.opened() as store:
            await self.keep(store, [a_reading(now, key_hash=number) for number in (-(2**63), -1, 0, 2**63 - 1)])
            assert len(await all_of(store)) == 4  # noqa: PLR2004 - as many as were written

    async def test_readings_old_and_a_little_ahead_are_kept(self) -> None:
        """Down to the retention, and up to 10 minutes ahead: as admission lets them through."""
        now = now_us()
        moments = [now + 10 * MINUTE_US, now, now - DAY_US, now - 40 * DAY_US, now - 89 * DAY_US]
        async with self.opened() as store:
            await self.keep(store, [a_reading(moment, received_us=now) for moment in moments])
            assert [found.ts_us for found in await all_of(store)] == moments

    async def test_known_is_exact(self) -> None:
        """Another device, tenant, time or hash is another reading."""
        now = now_us()
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
        now = now_us()
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
        now = now_us()
        other = [a_reading(now, DeviceKey("tenant-b", "pump-7")), a_reading(now, DeviceKey("tenant-a", "pump-8"))]
        async with self.opened() as store:
            await self.keep(store, [*(a_reading(now + number) for number in range(5)), *other])
            found = await store.history(DEVICE, start_us=now + 1, end_us=now + 4, limit=100)
        assert [reading.ts_us for reading in found] == [now + 3, now + 2, now + 1]

    async def test_pages_of_history_miss_nothing(self) -> None:
        """Readings of the same moment included, wherever a page ends."""
        now = now_us()
        written = [a_reading(now - number // 3, key_hash=number, seq=number) for number in range(20)]
        async with self.opened() as store:
            await self.keep(store, written)
            for limit in (1, 4, 7):
                page = await store.history(DEVICE, start_us=0, end_us=now + 1, limit=limit)
                assert limit <= len(page) < limit + 3, "those of one moment stay together, and no others come along"
                seen = await whole_history(store, DEVICE, start_us=0, end_us=now + 1, limit=limit)
                assert sorted(reading.seq or 0 for reading in seen) == list(range(20)), f"in pages of {limit}"
                assert [reading.ts_us for reading in seen] == sorted((each.ts_us for each in seen), reverse=True)

    async def test_history_is_of_some_types(self) -> None:
        """Few among many, page by page; of none at all, nothing."""
        now = now_us()
        events = [a_reading(now - 10 * number, msg_type=MsgType.EVENT, seq=number) for number in range(7)]
        others = [a_reading(now - number, key_hash=-number, seq=100) for number in range(70)]
        heartbeat = a_reading(now - 5, key_hash=3, msg_type=MsgType.HEARTBEAT, seq=50)
        time = {"start_us": now - 50, "end_us": now}
        async with self.opened() as store:
            await self.keep(store, [*events, *others, heartbeat, *(_theirs(each) for each in events)])
            for types, expected in (
                (["event"], [1, 2, 3, 4, 5]),
                (["event", "heartbeat"], [50, 1, 2, 3, 4, 5]),
                (["no such type"], []),
                ([], []),
            ):
                found = await whole_history(store, DEVICE, **time, limit=2, msg_types=types)
                assert [each.seq for each in found] == expected, types


def _theirs(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, device=OTHER_TENANT)
