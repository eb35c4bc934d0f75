"""What extends where readings are kept: the base of every telemetry store."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from pulse_core.plugin_base import Contribution, PluginConfig
from pulse_core.records import DeviceKey, Reading
from pulse_core.series import SeriesSet, in_buckets, numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.series import Aggregate

NAMES_IN = 16
"""Names are looked for in so many parts of a time,"""
NAMES_OF = 25
"""in so many of the newest readings of each."""
_PAGE = 1000


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


class TelemetryStore(Contribution):
    """Where readings are kept. Exactly one is active."""

    transactional: ClassVar[bool]
    """True: :meth:`write` takes part in the batch's own PostgreSQL transaction. False: it is called before it."""

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    async def open(self, database: Any) -> None:  # noqa: ARG002 - for those that override
        """Get ready. ``database`` is the host's pool for the current role."""
        return

    async def close(self) -> None:
        """Give back what :meth:`open` took."""
        return

    async def prepare(self, readings: Sequence[Reading]) -> None:  # noqa: ARG002 - for those that override
        """Make room for these readings (partitions, say). Called before the batch's transaction begins."""
        return

    @abstractmethod
    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:
        """Store readings. Idempotent: the same reading (device, ts_us, key_hash) again changes nothing."""

    @abstractmethod
    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of ``keys`` (by index) are stored already."""

    @abstractmethod
    async def history(
        self, device: DeviceKey, *, start_us: int, end_us: int, limit: int, before_us: int | None = None
    ) -> list[StoredReading]:
        """Readings of one device in [start, end), newest first, before ``before_us`` if given."""

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

    @abstractmethod
    async def drop_before(self, cutoff_us: int) -> int:
        """Retention: forget readings older than ``cutoff_us``; return how many units (partitions, rows) went."""


def parts_of(start_us: int, end_us: int) -> list[tuple[int, int]]:
    """A time in :data:`NAMES_IN` parts."""
    edges = [start_us + (end_us - start_us) * number // NAMES_IN for number in range(NAMES_IN + 1)]
    return [part for part in pairwise(edges) if part[0] < part[1]]
