"""A telemetry store in plain Python: how every store must answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pulse_core.api import (
    DeviceKey,
    LatestValue,
    Place,
    Reading,
    ReadingKey,
    SelectedReading,
    Selection,
    Series,
    SeriesSet,
    Size,
    StoredReading,
    TelemetryStore,
)
from pulse_core.series import in_buckets, numeric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pulse_core.api import Aggregate, PluginConfig


class MemoryStore(TelemetryStore):
    """Every answer is worked out from all readings, and by nothing that other stores use."""

    name: ClassVar[str] = "memory"
    summary: ClassVar[str] = "Readings in memory, for tests."
    transactional: ClassVar[bool] = False

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self._kept: dict[tuple[DeviceKey, int, int], Reading] = {}

    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:  # noqa: ARG002 - there is none
        """See :meth:`TelemetryStore.write`."""
        for each in readings:
            self._kept.setdefault((each.device, each.ts_us, each.key_hash), each)

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """See :meth:`TelemetryStore.known`."""
        return {number for number, key in enumerate(keys) if any(_is(key, *kept) for kept in self._kept)}

    async def history(
        self,
        device: DeviceKey,
        *,
        start_us: int,
        end_us: int,
        limit: int,
        before_us: int | None = None,
        msg_types: Sequence[str] | None = None,
    ) -> list[StoredReading]:
        """See :meth:`TelemetryStore.history`."""
        until_us = end_us if before_us is None else min(end_us, before_us)
        found = [
            _stored(each)
            for each in reversed(self._of(device, start_us, until_us))
            if msg_types is None or each.msg_type in msg_types
        ]
        last_us = found[limit - 1].ts_us if len(found) >= limit else start_us
        return [each for each in found if each.ts_us >= last_us]

    async def select(self, wanted: Selection, *, limit: int, after: Place | None = None) -> list[SelectedReading]:
        """See :meth:`TelemetryStore.select`."""
        found = sorted(
            (SelectedReading(_place(each), _stored(each, wanted.metrics)) for each in self._wanted(wanted)),
            key=lambda each: each.place,
        )
        return [each for each in found if after is None or each.place > after][:limit]

    async def metric_names(self, device: DeviceKey, *, start_us: int, end_us: int) -> list[str]:
        """See :meth:`TelemetryStore.metric_names`."""
        return numeric(each.metrics for each in self._of(device, start_us, end_us))

    async def series(
        self,
        device: DeviceKey,
        metrics: Sequence[str],
        *,
        start_us: int,
        end_us: int,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
        sample: bool = False,  # noqa: ARG002 - there are never too many
    ) -> SeriesSet:
        """See :meth:`TelemetryStore.series`."""
        return SeriesSet(_series(self._of(device, start_us, end_us), metrics, bucket_us, aggregates))

    async def recent(
        self, devices: Sequence[DeviceKey], *, since_us: int, end_us: int, limit: int
    ) -> dict[DeviceKey, list[StoredReading]]:
        """See :meth:`TelemetryStore.recent`."""
        return {
            device: [_stored(each) for each in reversed(self._of(device, since_us, end_us))][:limit]
            for device in devices
        }

    async def grouped(
        self,
        wanted: Selection,
        groups: Mapping[str, str],
        *,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
    ) -> dict[str, list[Series]]:
        """See :meth:`TelemetryStore.grouped`."""
        among = self._wanted(wanted)
        found = {
            group: _series(
                [each for each in among if groups.get(each.device.device_id) == group],
                wanted.metrics or (),
                bucket_us,
                aggregates,
            )
            for group in sorted(set(groups.values()))
        }
        return {group: series for group, series in found.items() if any(each.starts_us for each in series)}

    async def latest(self, devices: Sequence[DeviceKey], *, since_us: int) -> dict[DeviceKey, dict[str, LatestValue]]:
        """See :meth:`TelemetryStore.latest`."""
        return {
            device: {
                name: LatestValue(each.ts_us, value)
                for each in self._of(device, since_us)
                for name, value in each.metrics.items()
            }
            for device in devices
        }

    async def metrics_of(self, wanted: Selection) -> dict[str, int]:
        """See :meth:`TelemetryStore.metrics_of`."""
        pairs = {
            (name, each.device.device_id)
            for each in self._wanted(wanted)
            for name in each.metrics
            if wanted.metrics is None or name in wanted.metrics
        }
        names = sorted(name for name, _ in pairs)
        return {name: names.count(name) for name in names}

    async def drop_before(self, cutoff_us: int) -> int:
        """See :meth:`TelemetryStore.drop_before`."""
        return self._forget(lambda each: each.ts_us < cutoff_us)

    async def forget_device(self, device: DeviceKey) -> int:
        """See :meth:`TelemetryStore.forget_device`."""
        return self._forget(lambda each: each.device == device)

    async def forget_tenant(self, tenant_id: str) -> int:
        """See :meth:`TelemetryStore.forget_tenant`."""
        return self._forget(lambda each: each.device.tenant_id == tenant_id)

    async def size(self, tenant_id: str | None = None) -> Size:
        """See :meth:`TelemetryStore.size`."""
        return Size(sum(tenant_id in (None, each.device.tenant_id) for each in self._kept.values()), None)

    def _of(self, device: DeviceKey, start_us: int, end_us: int | None = None) -> list[Reading]:
        """The readings of a device, the oldest first."""
        return _in_time(
            each
            for each in self._kept.values()
            if each.device == device and each.ts_us >= start_us and (end_us is None or each.ts_us < end_us)
        )

    def _wanted(self, wanted: Selection) -> list[Reading]:
        """The readings of a selection, the oldest first."""
        return _in_time(each for each in self._kept.values() if _is_wanted(each, wanted))

    def _forget(self, which: Callable[[Reading], bool]) -> int:
        before = len(self._kept)
        self._kept = {key: each for key, each in self._kept.items() if not which(each)}
        return before - len(self._kept)


def _is(key: ReadingKey, device: DeviceKey, ts_us: int, key_hash: int) -> bool:
    at_that_time = ts_us == key.ts_us if key.since_us is None else ts_us >= key.since_us
    return (device, key_hash) == (key.device, key.key_hash) and at_that_time


def _is_wanted(reading: Reading, wanted: Selection) -> bool:
    return (
        reading.device.tenant_id == wanted.tenant_id
        and wanted.start_us <= reading.ts_us < wanted.end_us
        and (wanted.devices is None or reading.device.device_id in wanted.devices)
        and (wanted.sites is None or reading.site_id in wanted.sites)
        and (wanted.msg_types is None or reading.msg_type in wanted.msg_types)
        and (wanted.metrics is None or not reading.metrics.keys().isdisjoint(wanted.metrics))
    )


def _in_time(readings: Iterable[Reading]) -> list[Reading]:
    return sorted(readings, key=lambda each: (each.ts_us, each.device.device_id, each.key_hash))


def _series(
    readings: Sequence[Reading], metrics: Sequence[str], bucket_us: int, aggregates: Sequence[Aggregate]
) -> list[Series]:
    return [
        in_buckets(name, ((each.ts_us, each.metrics.get(name)) for each in readings), bucket_us, aggregates)
        for name in metrics
    ]


def _place(reading: Reading) -> Place:
    return Place(reading.device.device_id, reading.ts_us, reading.key_hash)


def _stored(reading: Reading, names: Sequence[str] | None = None) -> StoredReading:
    metrics = {name: value for name, value in reading.metrics.items() if names is None or name in names}
    return StoredReading(
        reading.ts_us, reading.received_us, str(reading.msg_type), reading.site_id, reading.seq, metrics
    )
