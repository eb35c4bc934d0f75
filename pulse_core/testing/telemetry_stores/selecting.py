"""Readings of many devices, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pulse_core.api import DeviceKey, MsgType, Place, Selection
from pulse_core.testing.telemetry_stores.opening import OpenedStore, whole_selection
from pulse_core.testing.telemetry_stores.readings import (
    DAY_US,
    DEVICE,
    HOSTILE_NAMES,
    MINUTE_US,
    NO_NAMES,
    OTHER_DEVICE,
    OTHER_TENANT,
    a_reading,
    now_us,
    saying,
)

if TYPE_CHECKING:
    from pulse_core.api import Reading

IN_ORDER = ("-x", "1", "A", "B", "_a", "a", "a-b", "a.b", "a1", "a:b", "a_b", "ab", "b")
"""Ids of devices by code point: languages order them otherwise."""


class SelectingContract(OpenedStore):
    """Of :meth:`TelemetryStore.select`."""

    async def test_what_is_selected_comes_back_as_it_was(self) -> None:
        """In its place, with every field; ``start`` included, ``end`` not."""
        now = now_us()
        written = saying(
            now, DEVICE, {"on": True, "n": 2**53 - 1, "t": "Grüße"}, key_hash=-(2**63), received_us=now + 7, seq=2**62
        )
        around = [a_reading(now - 1), a_reading(now + 1)]
        async with self.opened() as store:
            await self.keep(store, [written, *around])
            (found,) = await store.select(Selection("tenant-a", now, now + 1), limit=10)
        assert found.place == Place("pump-7", now, -(2**63))
        assert (found.reading.ts_us, found.reading.received_us, found.reading.seq) == (now, now + 7, 2**62)
        assert (found.reading.msg_type, found.reading.site_id) == ("telemetry", "site-1")
        assert found.reading.metrics == written.metrics
        assert found.reading.metrics["on"] is True

    async def test_devices_stand_in_the_order_of_code_points(self) -> None:
        """Each in order of time over all its days, and of hashes where times are the same."""
        now = now_us()
        moments = [(now - 2 * DAY_US, 5), (now - DAY_US, -(2**63)), (now - DAY_US, -1), (now - DAY_US, 2**63 - 1)]
        places = [Place(device_id, *moment) for device_id in IN_ORDER for moment in moments]
        async with self.opened() as store:
            await self.keep(store, [_at(place) for place in reversed(places)])
            found = await store.select(Selection("tenant-a", 0, now), limit=1000)
        assert [each.place for each in found] == places

    async def test_pages_miss_nothing_and_repeat_nothing(self) -> None:
        """However long they are, and behind whatever place they begin: one of a reading or not."""
        now = now_us()
        places = [
            Place(device_id, now - day * DAY_US + number // 3, number)
            for device_id in ("a", "b", "c")
            for day in (2, 1)
            for number in range(5)
        ]
        wanted = Selection("tenant-a", now - 3 * DAY_US, now)
        async with self.opened() as store:
            await self.keep(store, [_at(place) for place in places])
            for limit in (1, 2, 3, 7, 29, 30, 31):
                found = await whole_selection(store, wanted, limit=limit)
                assert [each.place for each in found] == places, f"in pages of {limit}"
            for after in (
                *places,
                Place("", 0, 0),
                Place("a", now, 0),
                Place("aa", 0, 0),
                Place("b", now - DAY_US, -(2**63)),
                Place("b", 0, 2**63 - 1),
                Place("c", now + DAY_US, 0),
                Place("d", 0, 0),
            ):
                page = await store.select(wanted, limit=100, after=after)
                assert [each.place for each in page] == [place for place in places if place > after], after

    async def test_only_what_is_wanted_is_selected(self) -> None:
        """By devices, sites and types, and all of them together; what is asked for twice comes once."""
        now = now_us() - MINUTE_US
        readings = [
            a_reading(now + number, DeviceKey("tenant-a", f"d{number % 4}"), site_id=f"s{number % 3}", msg_type=kind)
            for number, kind in enumerate([MsgType.TELEMETRY, MsgType.EVENT, MsgType.HEARTBEAT] * 8)
            for kind in ([kind] if number % 5 else [MsgType.EVENT])
        ]
        everything = Selection("tenant-a", now, now + MINUTE_US)
        asked: list[dict[str, tuple[str, ...]]] = [
            {"devices": ("d1",)},
            {"devices": ("d3", "d1", "no", "d1")},
            {"sites": ("s2", "s0", "s2")},
            {"msg_types": ("event",)},
            {"msg_types": ("event", "heartbeat")},
            {"devices": ("d0", "d2", "d3"), "sites": ("s0", "s1"), "msg_types": ("telemetry", "event")},
            {"devices": ("d1",), "sites": ("no",)},
            {"devices": ()},
            {"sites": ()},
            {"msg_types": ()},
            {"devices": ("d1' OR 'a' = 'a", '"', "%", "d_")},
            {"sites": ("s1' --", "s%")},
        ]
        async with self.opened() as store:
            await self.keep(store, readings)
            for how in asked:
                found = await whole_selection(store, msgspec.structs.replace(everything, **how), limit=5)
                expected = sorted(
                    (each.device.device_id, each.ts_us)
                    for each in readings
                    if each.device.device_id in how.get("devices", (each.device.device_id,))
                    and each.site_id in how.get("sites", (each.site_id,))
                    and each.msg_type in how.get("msg_types", (each.msg_type,))
                )
                assert [(each.place.device_id, each.place.ts_us) for each in found] == expected, how

    async def test_no_other_metrics_are_given(self) -> None:
        """Readings that have none of those asked for are left out: also where others of the same name would do."""
        now = now_us()
        readings = [
            saying(now - 9, DEVICE, dict.fromkeys(HOSTILE_NAMES, 1)),
            saying(now - 8, DEVICE, {"other": 1}),
            saying(now - 7, DEVICE, {"a": "text", "b": False}),
            saying(now - 6, OTHER_DEVICE, {}),
        ]
        async with self.opened() as store:
            await self.keep(store, readings)
            for name in HOSTILE_NAMES:
                found = await store.select(Selection("tenant-a", now - 9, now, metrics=(name,)), limit=9)
                assert [each.reading.metrics for each in found] == [{name: 1}], name
            for metrics, expected in (
                (("a", "temp"), [{"temp": 1}, {"a": "text"}]),
                (("b", "b"), [{"b": False}]),
                (NO_NAMES, []),
                ((), []),
            ):
                wanted = Selection("tenant-a", now - 9, now, metrics=metrics)
                assert [each.reading.metrics for each in await store.select(wanted, limit=9)] == expected, metrics
                pages = await whole_selection(store, wanted, limit=1)
                assert [each.reading.metrics for each in pages] == expected, metrics

    async def test_nobody_selects_what_is_anothers(self) -> None:
        """The same device, time and hash of another tenant is another reading."""
        now = now_us()
        readings = [saying(now, DEVICE, {"mine": 1}), saying(now, OTHER_TENANT, {"theirs": 1})]
        async with self.opened() as store:
            await self.keep(store, readings)
            for each in readings:
                wanted = Selection(each.device.tenant_id, 0, now + 1)
                (found,) = await store.select(wanted, limit=10)
                assert found.reading.metrics == each.metrics
                wanted = msgspec.structs.replace(wanted, devices=(each.device.device_id,))
                (found,) = await store.select(wanted, limit=10)
                assert found.reading.metrics == each.metrics
            assert await store.select(Selection("tenant-c", 0, now + 1), limit=10) == []


def _at(place: Place) -> Reading:
    return a_reading(place.ts_us, DeviceKey("tenant-a", place.device_id), key_hash=place.key_hash)
