"""What extends where readings are kept: the base of every telemetry store."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from pulse_core.plugin_base import Contribution, PluginConfig
from pulse_core.records import DeviceKey, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence


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

    @abstractmethod
    async def drop_before(self, cutoff_us: int) -> int:
        """Retention: forget readings older than ``cutoff_us``; return how many units (partitions, rows) went."""
