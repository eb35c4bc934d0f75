"""What extends the judging of readings: the base of every evaluator."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from msgspec import Struct

from pulse_core.plugin_base import Contribution, PluginConfig

if TYPE_CHECKING:
    from pulse_core.device_connections import Ending
    from pulse_core.records import Device, Judgement, Reading

MemoryT = TypeVar("MemoryT")


class Listening(Struct, frozen=True):
    """Since when we could hear a device without a gap; None while its way in is down.

    The platform's own outages are none of a device's fault: an evaluator counts silence from ``since_us`` at the
    earliest.
    """

    since_us: int | None


class Evaluator(Contribution, Generic[MemoryT]):
    """Decides what readings mean. Pure: no clock, no network, no storage; the time is passed in.

    ``memory`` is whatever immutable value of ``memory_type`` the last call returned for this device (None at first);
    it is stored with the batch and comes back after a restart.
    """

    memory_type: ClassVar[type[Any]]
    """A frozen ``msgspec.Struct`` (or any type that msgspec converts to and from JSON)."""
    sees_repeats: ClassVar[bool] = False
    """True: redelivered readings are observed too (they prove that the device lives, nothing more)."""

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    @abstractmethod
    def observe(
        self, device: Device, memory: MemoryT | None, reading: Reading, listening: Listening, now_us: int
    ) -> Judgement:
        """Take in one reading."""

    @abstractmethod
    def wake(self, device: Device, memory: MemoryT, listening: Listening, now_us: int) -> Judgement:
        """The time that an earlier :class:`Judgement` asked for has come.

        Not called while the device's way in is down; called on recovery with ``listening.since_us`` moved forward.
        """

    def disconnected(
        self,
        device: Device,  # noqa: ARG002 - for those that override, as for all that follows
        memory: MemoryT,  # noqa: ARG002
        ending: Ending,  # noqa: ARG002
        listening: Listening,  # noqa: ARG002
        now_us: int,  # noqa: ARG002
    ) -> Judgement | None:
        """The device's last connection has ended, in a way after which its tenant wants that judged at once.

        Called behind all that the device had sent, and only if the device has not come back meanwhile. None (as here)
        changes nothing. Do not count on it: it is lost when the platform ends just then.
        """
        return None
