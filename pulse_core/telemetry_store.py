"""What extends where readings are kept: the base of every telemetry store."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from pulse_core.errors import ReadingsAway, TemporaryFailure
from pulse_core.plugin_base import Contribution, PluginConfig
from pulse_core.records import DeviceKey, MetricValue, Reading
from pulse_core.series import SeriesSet, in_buckets, numeric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pulse_core.series import Aggregate, Series

NAMES_IN = 16
"""Names are looked for in so many parts of a time,"""
NAMES_OF = 25
"""in so many of the newest readings of each."""
_PAGE = 1000
_FOR_EVER_US = 253_402_300_799_000_000
"""The last second of the year 9999."""


class ReadingKey(Struct, frozen=True):
    """By what a redelivery is recognised. With ``since_us``, any reading of the device with this hash from then on
    counts (the device gave no ``ts``); without, only the very ``ts_us``.
    """

    device: DeviceKey
    ts_us: int
    key_hash: int
    since_us: int | None = None


class StoredReading(Struct, frozen=True):
    """A reading as a telemetry store gives it back."""

    ts_us: int
    received_us: int
    msg_type: str
    site_id: str
    seq: int | None
    metrics: dict[str, Any]


class Selection(Struct, frozen=True):
    """Some readings of one tenant: those in [start, end) for which all that is said here holds. None: of any."""

    tenant_id: str
    start_us: int
    end_us: int
    devices: tuple[str, ...] | None = None
    sites: tuple[str, ...] | None = None
    msg_types: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    """No other metrics are given; readings that have none of these are left out."""


class Place(Struct, frozen=True, order=True):
    """Where a reading of a tenant stands: devices in order of their ids (by code point), each in order of time."""

    device_id: str
    ts_us: int
    key_hash: int


class SelectedReading(Struct, frozen=True):
    """A reading and where it stands."""

    place: Place
    reading: StoredReading


class LatestValue(Struct, frozen=True, gc=False):
    """What a metric was last, and when."""

    ts_us: int
    value: MetricValue


class Size(Struct, frozen=True):
    """How much there is.

    ``readings``: exactly while there are few; of many, it may be an estimate. ``data_bytes``: on disk, indexes
    included; None where the store cannot tell.
    """

    readings: int
    data_bytes: int | None


class TelemetryStore(Contribution):
    """Where readings are kept. Exactly one is active."""

    transactional: ClassVar[bool]
    """True: :meth:`write` takes part in the batch's own PostgreSQL transaction. False: it is called before it."""

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    async def open(self, database: Any) -> None:  # noqa: ARG002 - for those that override
        """Get ready, whether or not the store answers already. ``database`` is the host's pool for the current role."""
        return

    async def close(self) -> None:
        """Give back what :meth:`open` took."""
        return

    async def prepare(self, readings: Sequence[Reading]) -> None:  # noqa: ARG002 - for those that override
        """Make room for these readings (partitions, say). Called before the batch's transaction begins."""
        return

    async def open_tenant(self, tenant_id: str) -> None:  # noqa: ARG002 - for those that override
        """Make room for a tenant (a database, say). Idempotent.

        :raises PermanentFailure: there is no room for one more; the text says what to do.
        """
        return

    @abstractmethod
    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:
        """Store readings. Idempotent: the same reading (device, ts_us, key_hash) again changes nothing.

        :raises ReadingsRefused: some can never be stored; all others are. Only of a store that is not transactional.
        :raises StoreUnavailable: the outcome is unknown; write the same again.
        """

    @abstractmethod
    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of ``keys`` (by index) are stored already."""

    @abstractmethod
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
        """Readings of one device in [start, end), newest first, before ``before_us`` if given.

        Those of the same ``ts`` stay together, so there may be a few more than ``limit``.
        """

    @abstractmethod
    async def select(self, wanted: Selection, *, limit: int, after: Place | None = None) -> list[SelectedReading]:
        """At most ``limit`` readings in the order of their places, from the first or from behind one: a page of many.

        :raises PermanentFailure: it takes too long.
        """

    async def metric_names(self, device: DeviceKey, *, start_us: int, end_us: int) -> list[str]:
        """The metrics of one device that have numbers in [start, end), in order.

        Every store that has :meth:`history` has this and the two that follow; one that can count where the readings
        are overrides them. They look at some readings of each part of the time: a metric that is told of but rarely
        may be missed.
        """
        found: set[str] = set()
        for since_us, until_us in parts_of(start_us, end_us):
            newest = await self.history(device, start_us=since_us, end_us=until_us, limit=NAMES_OF)
            found.update(numeric(each.metrics for each in newest))
        return sorted(found)

    async def series(
        self,
        device: DeviceKey,
        metrics: Sequence[str],
        *,
        start_us: int,
        end_us: int,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
        sample: bool = False,  # noqa: ARG002 - for those that override
    ) -> SeriesSet:
        """The numbers of some metrics of one device in [start, end), in buckets; a series for each, in the same order.

        :param sample: where there are very many readings, look at some of them only.
        :raises PermanentFailure: there are more readings than can be counted in time.
        """
        readings: list[StoredReading] = []
        before_us: int | None = None
        while page := await self.history(device, start_us=start_us, end_us=end_us, limit=_PAGE, before_us=before_us):
            readings += page
            before_us = page[-1].ts_us
        readings.reverse()
        values = {name: [(each.ts_us, each.metrics.get(name)) for each in readings] for name in metrics}
        return SeriesSet([in_buckets(name, values[name], bucket_us, aggregates) for name in metrics])

    async def recent(
        self, devices: Sequence[DeviceKey], *, since_us: int, end_us: int, limit: int
    ) -> dict[DeviceKey, list[StoredReading]]:
        """The newest readings of each of several devices in [since, end), newest first; at most about ``limit``."""
        return {device: await self.history(device, start_us=since_us, end_us=end_us, limit=limit) for device in devices}

    async def grouped(
        self,
        wanted: Selection,
        groups: Mapping[str, str],
        *,
        bucket_us: int,
        aggregates: Sequence[Aggregate],
    ) -> dict[str, list[Series]]:
        """The numbers of the metrics of ``wanted`` (named ones) in buckets, a series for each metric in each group.

        :param groups: the group of each device; those without one are left out, and groups without numbers, too.
        :raises PermanentFailure: it takes too long.
        """
        found: dict[str, dict[str, list[tuple[int, MetricValue | None]]]] = {}
        names = wanted.metrics or ()
        after: Place | None = None
        while page := await self.select(wanted, limit=_PAGE, after=after):
            for each in page:
                if group := groups.get(each.place.device_id):
                    of_group = found.setdefault(group, {name: [] for name in names})
                    for name, values in of_group.items():
                        values.append((each.reading.ts_us, each.reading.metrics.get(name)))
            after = page[-1].place
        for of_group in found.values():
            for values in of_group.values():
                values.sort(key=lambda value: value[0])  # stable: of one moment, the last device's is the last
        series = {
            group: [in_buckets(name, of_group[name], bucket_us, aggregates) for name in names]
            for group, of_group in sorted(found.items())
        }
        return {group: each for group, each in series.items() if any(one.starts_us for one in each)}

    async def latest(self, devices: Sequence[DeviceKey], *, since_us: int) -> dict[DeviceKey, dict[str, LatestValue]]:
        """The latest value of every metric of each of several devices, as far as it was told since ``since_us``.

        Of readings of the same ``ts``, any may be the latest. A device without any is there, with nothing. A store may
        look at some of the newest readings of each device only: a metric that is told of but rarely may be missed.
        """
        found: dict[DeviceKey, dict[str, LatestValue]] = {}
        for device in devices:
            of_device = found[device] = {}
            wanted = Selection(device.tenant_id, since_us, _FOR_EVER_US, devices=(device.device_id,))
            after: Place | None = None
            while page := await self.select(wanted, limit=_PAGE, after=after):
                for each in page:
                    for name, value in each.reading.metrics.items():
                        of_device[name] = LatestValue(each.reading.ts_us, value)
                after = page[-1].place
        return found

    async def metrics_of(self, wanted: Selection) -> dict[str, int]:
        """Every metric name there is, whatever its values are, and on how many devices."""
        seen: dict[str, set[str]] = {}
        after: Place | None = None
        while page := await self.select(wanted, limit=_PAGE, after=after):
            for each in page:
                for name in each.reading.metrics:
                    seen.setdefault(name, set()).add(each.place.device_id)
            after = page[-1].place
        return {name: len(devices) for name, devices in sorted(seen.items())}

    @abstractmethod
    async def drop_before(self, cutoff_us: int) -> int:
        """Retention: forget readings older than ``cutoff_us``; return how many units (partitions, rows) went."""

    @abstractmethod
    async def forget_device(self, device: DeviceKey) -> int:
        """Delete every reading of a device; return how many, or 0 where the store cannot tell."""

    @abstractmethod
    async def forget_tenant(self, tenant_id: str) -> int:
        """Delete every reading of a tenant, and what :meth:`open_tenant` made; return as above."""

    @abstractmethod
    async def size(self, tenant_id: str | None = None) -> Size:
        """How much there is of a tenant, or of all."""


@contextmanager
def asking(store: TelemetryStore) -> Iterator[None]:
    """Around whatever is asked of ``store``: if it is beside the database and does not answer, it is ReadingsAway."""
    try:
        yield
    except (TemporaryFailure, OSError) as error:
        if store.transactional:
            raise
        raise ReadingsAway(f"telemetry store {store.name}: {str(error) or type(error).__name__}") from error


def parts_of(start_us: int, end_us: int) -> list[tuple[int, int]]:
    """A time in :data:`NAMES_IN` parts."""
    edges = [start_us + (end_us - start_us) * number // NAMES_IN for number in range(NAMES_IN + 1)]
    return [part for part in pairwise(edges) if part[0] < part[1]]
