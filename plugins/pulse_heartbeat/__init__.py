"""Heartbeat: a device that has been silent for too long is STALE, and an alert says so.

Silence is judged by when *we* received something, never by the device's clock, and only while we could hear it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from msgspec import Struct
from pydantic import Field

from pulse_core.api import (
    Device,
    DeviceStatus,
    Ending,
    Evaluator,
    Finding,
    Judgement,
    Listening,
    PluginConfig,
    Reading,
    Severity,
    hookimpl,
)

NO_HEARTBEAT = "NO_HEARTBEAT"
_ENDINGS = {
    Ending.CLIENT_CLOSED: "it said good-bye",
    Ending.LOST: "connection lost",
    Ending.KEEP_ALIVE: "its keep-alive ran out",
    Ending.NOT_READING: "it left our answers unread",
    Ending.PROTOCOL_ERROR: "it broke the protocol",
}


class HeartbeatConfig(PluginConfig):
    """When a silent device is stale."""

    stale_after_s: float = Field(30.0, gt=0, le=30 * 86_400)
    """Seconds of silence; a tenant's and a device's own setting come first."""


class Heard(Struct, frozen=True, gc=False):
    """What the evaluator remembers of a device: when it was last heard, and whether its silence was reported."""

    last_us: int
    stale: bool = False


class HeartbeatEvaluator(Evaluator[Heard]):
    """ONLINE while the device is heard, STALE (and NO_HEARTBEAT open) once it has been silent for its threshold."""

    name = "heartbeat"
    summary = "Marks silent devices STALE and raises NO_HEARTBEAT"
    config_type = HeartbeatConfig
    memory_type = Heard
    sees_repeats: ClassVar[bool] = True
    config: HeartbeatConfig

    def observe(
        self,
        device: Device,
        memory: Heard | None,
        reading: Reading,
        listening: Listening,  # noqa: ARG002 - a device that is heard is heard
        now_us: int,  # noqa: ARG002 - the reading says when
    ) -> Judgement:
        """Any message proves that the device lives, but for its last will. That moves nothing."""
        if reading.will and memory is not None:
            return self._as_it_was(device, memory)
        last_us = reading.received_us if memory is None else max(memory.last_us, reading.received_us)
        deadline_us = last_us + self._threshold_us(device)
        recovered = (_back(),) if memory is not None and memory.stale else ()
        return Judgement(Heard(last_us), recovered, deadline_us, DeviceStatus.ONLINE, deadline_us)

    def wake(self, device: Device, memory: Heard, listening: Listening, now_us: int) -> Judgement:
        """The deadline is the threshold after the last message, or after we began to listen again."""
        if memory.stale:
            return Judgement(memory, status=DeviceStatus.STALE)
        since_us = now_us if listening.since_us is None else listening.since_us
        heard_from_us = max(memory.last_us, since_us)
        deadline_us = heard_from_us + self._threshold_us(device)
        if now_us < deadline_us:
            return Judgement(memory, (), deadline_us)
        silent = _silent(device, memory, self._threshold_us(device))
        return Judgement(Heard(memory.last_us, stale=True), (silent,), None, DeviceStatus.STALE)

    def disconnected(
        self,
        device: Device,
        memory: Heard,
        ending: Ending,
        listening: Listening,  # noqa: ARG002 - who has gone is not waited for
        now_us: int,  # noqa: ARG002
    ) -> Judgement | None:
        """Its tenant chose not to wait for the deadline. The next message ends this silence like any other."""
        if memory.stale:
            return None
        return Judgement(Heard(memory.last_us, stale=True), (_gone(device, memory, ending),), None, DeviceStatus.STALE)

    def _as_it_was(self, device: Device, memory: Heard) -> Judgement:
        return Judgement(memory, (), None if memory.stale else memory.last_us + self._threshold_us(device))

    def _threshold_us(self, device: Device) -> int:
        return round((device.stale_after_s or self.config.stale_after_s) * 1_000_000)


def _back() -> Finding:
    return Finding(NO_HEARTBEAT, active=False)


def _silent(device: Device, memory: Heard, threshold_us: int) -> Finding:
    threshold_s = threshold_us / 1e6
    return _missing(memory, f"{device.key.device_id} has been silent for {threshold_s:g} s", stale_after_s=threshold_s)


def _gone(device: Device, memory: Heard, ending: Ending) -> Finding:
    return _missing(memory, f"{device.key.device_id} has disconnected ({_ENDINGS[ending]})", disconnected=ending.value)


def _missing(memory: Heard, summary: str, **why: float | str) -> Finding:
    last_seen = datetime.fromtimestamp(memory.last_us / 1e6, UTC).isoformat(timespec="milliseconds")
    return Finding(
        NO_HEARTBEAT,
        active=True,
        severity=Severity.MAJOR,
        confidence=0.9,
        summary=summary,
        details={"last_seen_at": last_seen, **why},
    )


@hookimpl
def pulse_register_evaluators() -> list[type[Evaluator[Heard]]]:
    """Register the evaluator."""
    return [HeartbeatEvaluator]
