"""Readings as numbers over time: counted where they are, put together here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pulse_core.api import Aggregate, LatestValue, Selection, Series, SeriesSet
from pulse_influxdb.asking import number
from pulse_influxdb.names import text_of, word
from pulse_influxdb.packed import NUMBER, names_in, unpacked
from pulse_influxdb.pages import COLUMNS, reading_of, selected
from pulse_influxdb.place import LAST_US, KeptInInflux, all_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulse_core.api import DeviceKey, StoredReading
    from pulse_influxdb.asking import Query

_GROUPS_ASKED = 16
"""So many groups are asked for one by one; of more, every device is, and they are put together here."""
_ORDER = "ORDER BY time_ns, device_id, key_hash"
_THERE = "FILTER (WHERE n{0} IS NOT NULL)"
_TOLD = (
    "count(n{0}) AS count{0}, sum(n{0}) AS sum{0}, min(n{0}) AS min{0}, max(n{0}) AS max{0}, "
    f"min(time_ns) {_THERE} AS begin{{0}}, max(time_ns) {_THERE} AS end{{0}}, "
    f"first_value(n{{0}} {_ORDER}) {_THERE} AS first{{0}}, last_value(n{{0}} {_ORDER}) {_THERE} AS last{{0}}"
)


class Bucket:
    """What is known of one metric in one bucket; rows are put in as they come, in any order."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.min = self.max = 0.0
        self.first: tuple[int, str, float] = (LAST_US * 1000, "", 0.0)
        self.last: tuple[int, str, float] = (-1, "", 0.0)

    def add(self, row: Mapping[str, Any], place: int, device: str) -> None:
        """One row more, if it has numbers."""
        count = row[f"count{place}"]
        if not count:
            return
        low, high = row[f"min{place}"], row[f"max{place}"]
        self.min, self.max = (min(self.min, low), max(self.max, high)) if self.count else (low, high)
        self.count += count
        self.sum += row[f"sum{place}"]
        self.first = min(self.first, (row[f"begin{place}"], device, row[f"first{place}"]))
        self.last = max(self.last, (row[f"end{place}"], device, row[f"last{place}"]))

    def told(self, aggregate: Aggregate) -> float:
        """The bucket by an aggregate; there is a number in it."""
        if aggregate is Aggregate.AVG:
            return self.sum / self.count
        value = getattr(self, aggregate.value)
        return float(value[2] if isinstance(value, tuple) else value)


Buckets = dict[int, Bucket]


class CountedInInflux(KeptInInflux):
    """What the store tells of readings as numbers, and of the newest of each device."""

    async def metric_names(self, device: DeviceKey, *, start_us: int, end_us: int) -> list[str]:
        """See :meth:`TelemetryStore.metric_names`. None is missed."""
        wanted = Selection(device.tenant_id, start_us, end_us, devices=(device.device_id,))
        shapes = {row["shape"] for row in await self._shapes(wanted)}
        return sorted({name for each in shapes for name in names_in(each, NUMBER)})

    async def metrics_of(self, wanted: Selection) -> dict[str, int]:
        """See :meth:`TelemetryStore.metrics_of`."""
        seen: dict[str, set[str]] = {}
        for row in await self._shapes(wanted):
            for name in names_in(row["shape"]):
                if wanted.metrics is None or name in wanted.metrics:
                    seen.setdefault(name, set()).add(row["device_id"])
        return {name: len(devices) for name, devices in sorted(seen.items())}

    async def series(
        self,
        device: DeviceKey,
        metrics: Sequence[str],
        *,
        start_us: int,
        end_us: int,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
        sample: bool = False,  # noqa: ARG002 - all are looked at
    ) -> SeriesSet:
        """See :meth:`TelemetryStore.series`."""
        wanted = Selection(
            device.tenant_id, start_us, end_us, devices=(device.device_id,), metrics=tuple(dict.fromkeys(metrics))
        )
        found: dict[str, list[Buckets]] = {}
        if metrics:
            await self._count(wanted, bucket_us, found, {device.device_id: ""}, "")
        of_each = dict(zip(wanted.metrics or (), found.get("", []), strict=False))
        return SeriesSet([_series(name, of_each.get(name, {}), aggregates) for name in metrics])

    async def grouped(
        self,
        wanted: Selection,
        groups: Mapping[str, str],
        *,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
    ) -> dict[str, list[Series]]:
        """See :meth:`TelemetryStore.grouped`."""
        names = tuple(dict.fromkeys(wanted.metrics or ()))
        members: dict[str, list[str]] = {}
        for device_id, group in groups.items():
            if group and (wanted.devices is None or device_id in wanted.devices):
                members.setdefault(group, []).append(device_id)
        found: dict[str, list[Buckets]] = {}
        every = [device_id for each in members.values() for device_id in each]
        asked: list[tuple[str | None, list[str]]] = [(None, every)]
        if len(members) <= _GROUPS_ASKED:
            asked = list(members.items())
        counts = [
            self._count(_narrowed(wanted, tuple(devices), names), bucket_us, found, groups, one)
            for one, devices in asked
            if names
        ]
        await all_of(counts)
        told = {
            group: [
                _series(name, dict(zip(names, each, strict=True))[name], aggregates) for name in wanted.metrics or ()
            ]
            for group, each in sorted(found.items())
        }
        return {group: each for group, each in told.items() if any(one.starts_us for one in each)}

    async def latest(self, devices: Sequence[DeviceKey], *, since_us: int) -> dict[DeviceKey, dict[str, LatestValue]]:
        """See :meth:`TelemetryStore.latest`. The newest reading of each shape holds all that can be the latest."""
        found: dict[DeviceKey, dict[str, LatestValue]] = {device: {} for device in devices}
        for tenant_id, by_word in _by_tenant(devices).items():

            def build(query: Query, words: Sequence[str] = tuple(by_word)) -> str:
                query.among("device_id", words)
                return (
                    f"SELECT device_id, max(time_ns) AS time_ns, last_value(metrics {_ORDER}) AS metrics "
                    f"FROM ({query.rows(f'{COLUMNS}, r.shape')}) GROUP BY device_id, shape"
                )

            for _, rows in await self.ask(tenant_id, since_us, LAST_US, build):
                for row in rows:
                    of_device, ts_us = found[by_word[row["device_id"]]], row["time_ns"] // 1000
                    for name, value in unpacked(row["metrics"]).items():
                        if name not in of_device or of_device[name].ts_us < ts_us:
                            of_device[name] = LatestValue(ts_us, value)
        return found

    async def recent(
        self, devices: Sequence[DeviceKey], *, since_us: int, end_us: int, limit: int
    ) -> dict[DeviceKey, list[StoredReading]]:
        """See :meth:`TelemetryStore.recent`: one query for the devices of a tenant."""
        found: dict[DeviceKey, list[StoredReading]] = {device: [] for device in devices}
        for tenant_id, by_word in _by_tenant(devices).items():

            def build(query: Query, words: Sequence[str] = tuple(by_word)) -> str:
                query.among("device_id", words)
                ranked = "row_number() OVER (PARTITION BY device_id ORDER BY time_ns DESC)"
                return (
                    f"SELECT * FROM (SELECT *, {ranked} AS place FROM ({query.rows(COLUMNS)})) "
                    f"WHERE place <= {int(limit)} ORDER BY time_ns DESC"
                )

            for _, rows in reversed(await self.ask(tenant_id, since_us, end_us, build)):
                for row in rows:
                    of_device = found[by_word[row["device_id"]]]
                    if len(of_device) < limit:
                        of_device.append(reading_of(row))
        return found

    async def _shapes(self, wanted: Selection) -> list[dict[str, Any]]:
        def build(query: Query) -> str:
            selected(query, wanted)
            return f"SELECT DISTINCT device_id, shape FROM ({query.rows('r.device_id, r.shape')})"

        answers = await self.ask(wanted.tenant_id, wanted.start_us, wanted.end_us, build)
        return [row for _, rows in answers for row in rows]

    async def _count(
        self,
        wanted: Selection,
        bucket_us: int,
        found: dict[str, list[Buckets]],
        groups: Mapping[str, str],
        group: str | None,
    ) -> None:
        """Count what is wanted into ``found``: of one group, or, with None, of each device's own."""
        names = wanted.metrics or ()
        build = partial(_counting, wanted=wanted, bucket_us=bucket_us, by_device=group is None)
        for _, rows in await self.ask(wanted.tenant_id, wanted.start_us, wanted.end_us, build):
            for row in rows:
                device = text_of(row["device_id"]) if group is None else ""
                of_group = found.setdefault(groups[device] if group is None else group, [{} for _ in names])
                for place, buckets in enumerate(of_group):
                    buckets.setdefault(row["bin_ns"] // 1000, Bucket()).add(row, place, device)


def _counting(query: Query, *, wanted: Selection, bucket_us: int, by_device: bool) -> str:
    names = wanted.metrics or ()
    selected(query, wanted)
    numbers = ", ".join(f"{number(name)} AS n{place}" for place, name in enumerate(names))
    told = ", ".join(_TOLD.format(place) for place in range(len(names)))
    whose = "device_id, " if by_device else ""
    every = f"INTERVAL '{int(bucket_us)} microseconds'"
    columns = f"CAST(date_bin({every}, r.time) AS BIGINT) AS bin_ns, CAST(r.time AS BIGINT) AS time_ns"
    return (
        f"SELECT {whose}bin_ns, {told} FROM ({query.rows(f'{columns}, r.device_id, r.key_hash, {numbers}')}) "
        f"GROUP BY {whose}bin_ns"
    )


def _narrowed(wanted: Selection, devices: tuple[str, ...], metrics: tuple[str, ...]) -> Selection:
    return Selection(wanted.tenant_id, wanted.start_us, wanted.end_us, devices, wanted.sites, wanted.msg_types, metrics)


def _series(name: str, buckets: Buckets, aggregates: Sequence[Aggregate]) -> Series:
    starts = sorted(start for start, bucket in buckets.items() if bucket.count)
    return Series(name, starts, {str(each): [buckets[start].told(each) for start in starts] for each in aggregates})


def _by_tenant(devices: Sequence[DeviceKey]) -> dict[str, dict[str, DeviceKey]]:
    found: dict[str, dict[str, DeviceKey]] = {}
    for device in devices:
        found.setdefault(device.tenant_id, {})[word(device.device_id)] = device
    return found
