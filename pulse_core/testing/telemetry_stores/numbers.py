"""Readings as numbers over time, and what they tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.api import Aggregate, DeviceKey, LatestValue, MsgType, Selection
from pulse_core.testing.telemetry_stores.opening import OpenedStore
from pulse_core.testing.telemetry_stores.readings import (
    DAY_US,
    DEVICE,
    HOSTILE_NAMES,
    HOUR_US,
    MINUTE_US,
    NO_NAMES,
    OTHER_DEVICE,
    OTHER_TENANT,
    SECOND_US,
    now_us,
    saying,
)

if TYPE_CHECKING:
    from pulse_core.api import Reading
    from pulse_core.records import MetricValue

_TOLD = {
    "avg": [2.5, -7],
    "min": [1.5, -7],
    "max": [4, -7],
    "sum": [7.5, -7],
    "count": [3, 1],
    "first": [4, -7],
    "last": [2, -7],
}
"""What is told of :func:`_in_two_buckets`."""


class NumbersContract(OpenedStore):
    """Of series, groups, latest values and names."""

    async def test_numbers_come_in_buckets(self) -> None:
        """Every aggregate, of [start, end), of one device, in buckets that begin at multiples of their length."""
        start = now_us() // MINUTE_US * MINUTE_US - 10 * MINUTE_US
        theirs = [saying(start, whose, {"t": 50}) for whose in (OTHER_TENANT, OTHER_DEVICE)]
        async with self.opened() as store:
            await self.keep(store, [*_in_two_buckets(start), *theirs])
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
        assert series.values == _TOLD

    async def test_only_numbers_are_counted(self) -> None:
        """Whatever else stands under the name; a series for each name that is asked for, in that order."""
        now = now_us() - MINUTE_US
        said: list[MetricValue] = [True, "7", 3, ""]
        readings = [saying(now + n, DEVICE, {"t": value, "u": 2 * n}) for n, value in enumerate(said)]
        readings.append(saying(now + 9, DEVICE, dict.fromkeys(HOSTILE_NAMES, 1)))
        time: Any = {"start_us": now, "end_us": now + SECOND_US}
        how: Any = {"bucket_us": HOUR_US, "aggregates": [Aggregate.COUNT, Aggregate.LAST]}
        async with self.opened() as store:
            await self.keep(store, readings)
            found = await store.series(DEVICE, ["u", "no", "t"], **time, **how)
            odd = await store.series(DEVICE, HOSTILE_NAMES, **time, **how)
            nothing = await store.series(DEVICE, NO_NAMES, **time, **how)
            names = await store.metric_names(DEVICE, **time)
            none = await store.metric_names(OTHER_TENANT, **time)
        assert [(each.metric, each.values) for each in found.series] == [
            ("u", {"count": [4], "last": [6]}),
            ("no", {"count": [], "last": []}),
            ("t", {"count": [1], "last": [3]}),
        ]
        assert [(each.metric, each.values) for each in odd.series] == [
            (name, {"count": [1], "last": [1]}) for name in HOSTILE_NAMES
        ]
        assert [(each.metric, each.starts_us) for each in nothing.series] == [(name, []) for name in NO_NAMES]
        assert (names, none) == (sorted([*HOSTILE_NAMES, "t", "u"]), [])

    async def test_the_newest_readings_of_several_devices(self) -> None:
        """A key for each, also for one that said nothing."""
        now = now_us()
        devices = [DEVICE, OTHER_DEVICE, DeviceKey("tenant-a", "silent")]
        readings = [saying(now - n, device, {"t": n}) for n in range(5) for device in devices[:2]]
        async with self.opened() as store:
            await self.keep(store, [*readings, saying(now, OTHER_TENANT, {"t": 9})])
            found = await store.recent(devices, since_us=now - 3, end_us=now, limit=2)
        assert [[each.metrics["t"] for each in found[device]] for device in devices] == [[1, 2], [1, 2], []]

    async def test_devices_are_told_of_in_groups(self) -> None:
        """As if each group were one device; without those of no group, and groups without numbers."""
        start = now_us() // MINUTE_US * MINUTE_US - 10 * MINUTE_US
        ids = ["pump-7", "a", "b", "c"]
        readings = [
            saying(each.ts_us, DeviceKey("tenant-a", ids[number % 3]), each.metrics, site_id=f"s{number}")
            for number, each in enumerate(_in_two_buckets(start))
        ]
        readings += [saying(start + 5, DeviceKey("tenant-a", device_id), {"t": "x", "w": 8}) for device_id in "bc"]
        readings += [saying(start + 6, whose, {"t": 70}) for whose in (OTHER_TENANT, OTHER_DEVICE)]
        wanted = Selection("tenant-a", start, start + 3 * MINUTE_US, metrics=("t", "no"))
        odd_group = 'x\' || "y" %s {}'
        groups = {"pump-7": odd_group, "a": odd_group, "b": odd_group, "c": "only text", "not there": "nobody"}
        async with self.opened() as store:
            await self.keep(store, readings)
            found = await store.grouped(wanted, groups, bucket_us=MINUTE_US, aggregates=list(Aggregate))
            assert await store.grouped(wanted, {}, bucket_us=MINUTE_US, aggregates=[Aggregate.AVG]) == {}
        assert list(found) == [odd_group]
        series, none = found[odd_group]
        assert (series.metric, series.starts_us, series.values) == ("t", [start, start + 2 * MINUTE_US], _TOLD)
        assert (none.metric, none.starts_us, none.values) == ("no", [], {name: [] for name in _TOLD})

    async def test_groups_are_of_what_is_wanted(self) -> None:
        """Of its devices, sites and types alone; names of metrics may be anything."""
        now = now_us() - MINUTE_US
        everything = dict.fromkeys(HOSTILE_NAMES, 4)
        readings = [
            saying(now, DEVICE, everything, site_id="s1"),
            saying(now + 1, DEVICE, everything, site_id="s2"),
            saying(now + 2, DEVICE, everything, site_id="s1", msg_type=MsgType.EVENT),
            saying(now + 3, OTHER_DEVICE, everything, site_id="s1"),
        ]
        groups = {"pump-7": "seven", "pump-8": "eight"}
        how: Any = {"bucket_us": DAY_US, "aggregates": [Aggregate.COUNT]}
        async with self.opened() as store:
            await self.keep(store, readings)
            for only, expected in (
                ({}, {"seven": 3, "eight": 1}),
                ({"sites": ("s1",)}, {"seven": 2, "eight": 1}),
                ({"devices": ("pump-8",)}, {"eight": 1}),
                ({"sites": ("s1",), "msg_types": ("event",)}, {"seven": 1}),
            ):
                wanted = Selection("tenant-a", now, now + MINUTE_US, metrics=HOSTILE_NAMES, **only)
                found = await store.grouped(wanted, groups, **how)
                told = {
                    group: [(each.metric, sum(each.values["count"])) for each in series]
                    for group, series in found.items()
                }
                assert told == {
                    group: [(name, count) for name in HOSTILE_NAMES] for group, count in expected.items()
                }, only

    async def test_the_latest_value_of_every_metric(self) -> None:
        """Each as it was last told, whatever it is, in whatever order readings came; none from before ``since``."""
        now = now_us()
        devices = [DEVICE, OTHER_DEVICE, DeviceKey("tenant-a", "silent")]
        newest = dict.fromkeys(HOSTILE_NAMES, "text")
        readings = [
            saying(now - 1, DEVICE, {"on": False, "n": 2}),
            saying(now - 3, DEVICE, {"on": True, "n": 1.5, "seldom": 7}),
            saying(now - DAY_US, DEVICE, {"on": True, "too old": 1, "seldom": 1}),
            saying(now - 2 * DAY_US, OTHER_DEVICE, {"t": 1}),
            saying(now - 2, OTHER_DEVICE, newest, msg_type=MsgType.EVENT),
            saying(now, OTHER_TENANT, {"on": True, "theirs": 1}),
        ]
        async with self.opened() as store:
            await self.keep(store, readings)
            found = await store.latest(devices, since_us=now - HOUR_US)
        assert found == {
            devices[0]: {
                "on": LatestValue(now - 1, value=False),
                "n": LatestValue(now - 1, 2),
                "seldom": LatestValue(now - 3, 7),
            },
            devices[1]: {name: LatestValue(now - 2, "text") for name in HOSTILE_NAMES},
            devices[2]: {},
        }
        assert found[DEVICE]["on"].value is False, "a truth is no number"

    async def test_every_metric_there_is(self) -> None:
        """Whatever it is, and on how many devices; of what is wanted alone."""
        now = now_us()
        readings = [
            saying(now - 9, DEVICE, dict.fromkeys(HOSTILE_NAMES, 1)),
            saying(now - 8, DEVICE, {"temp": "text", "on": True}, site_id="s2"),
            saying(now - 7, OTHER_DEVICE, {"temp": 2, "on": False}, msg_type=MsgType.EVENT),
            saying(now, OTHER_DEVICE, {"too late": 2}),
            saying(now - 6, OTHER_TENANT, {"theirs": 2}),
        ]
        everything = {**dict.fromkeys(HOSTILE_NAMES, 1), "temp": 2, "on": 2}
        async with self.opened() as store:
            await self.keep(store, readings)
            for only, expected in (
                ({}, everything),
                ({"devices": ("pump-8",)}, {"temp": 1, "on": 1}),
                ({"sites": ("s2",)}, {"temp": 1, "on": 1}),
                ({"msg_types": ("telemetry",)}, {**everything, "temp": 1, "on": 1}),
                ({"metrics": ("on", "a.b", "no")}, {"on": 2, "a.b": 1}),
                ({"devices": ("no",)}, {}),
            ):
                found = await store.metrics_of(Selection("tenant-a", now - 9, now, **only))
                assert list(found.items()) == sorted(expected.items()), only


def _in_two_buckets(start_us: int) -> list[Reading]:
    """The numbers of which :data:`_TOLD` tells, and one before and one behind three minutes."""
    given: list[tuple[int, float]] = [(-1, 99), (0, 4), (SECOND_US, 1.5), (30 * SECOND_US, 2)]
    given += [(2 * MINUTE_US, -7), (3 * MINUTE_US, 99)]
    return [saying(start_us + after, DEVICE, {"t": value}) for after, value in given]
