"""What readings and silence mean: runs every evaluator on a device's draft state. Pure, and contains failures.

An evaluator that raises costs only its own judgement of that one reading: it is logged with the plugin's name, its
memory stays as it was, and everything else goes on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec import Struct
from prometheus_client import Counter

from pulse_core.records import DeviceKey, DeviceState, DeviceStatus, Finding, OpenAlert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulse_core.api import Ending, Evaluator, Judgement, Listening
    from pulse_core.records import Device, Reading

log = structlog.get_logger(__name__)
failures = Counter("pulse_evaluator_failures_total", "Judgements lost to an evaluator's own error", ["evaluator"])

_SOONEST_WAKE_US = 10_000
"""An evaluator that asks to be woken in the past must not spin the lane."""


class Draft(Struct):
    """A device's state while a batch is being decided; it becomes the committed state only with the batch."""

    key: DeviceKey
    status: DeviceStatus
    status_since_us: int
    status_until_us: int | None
    last_seen_us: int
    last_ts_us: int
    last_seq: int | None
    source: str
    memory: dict[str, Any]
    wake_us: dict[str, int]
    alerts: dict[str, OpenAlert]

    @classmethod
    def of(cls, state: DeviceState) -> Draft:
        """Start from the committed state."""
        return cls(
            state.key,
            state.status,
            state.status_since_us,
            state.status_until_us,
            state.last_seen_us,
            state.last_ts_us,
            state.last_seq,
            state.source,
            dict(state.memory),
            dict(state.wake_us),
            state.alerts,
        )

    def freeze(self) -> DeviceState:
        """The state to commit, then to install."""
        return DeviceState(
            self.key,
            self.status,
            self.status_since_us,
            self.status_until_us,
            self.last_seen_us,
            self.last_ts_us,
            self.last_seq,
            self.source,
            self.memory,
            self.wake_us,
            self.alerts,
        )


def note(draft: Draft, reading: Reading) -> None:
    """What the core itself remembers of a reading: by it a redelivery is recognised, and a source is known."""
    heard(draft, reading)
    draft.last_ts_us = max(draft.last_ts_us, reading.ts_us)
    if reading.seq is not None:
        draft.last_seq = reading.seq
    draft.source = reading.source


def heard(draft: Draft, reading: Reading) -> None:
    """A device that sends lives; what is published for it after its end says nothing of that."""
    if not reading.will:
        draft.last_seen_us = max(draft.last_seen_us, reading.received_us)


def observe(
    evaluators: Sequence[Evaluator[Any]],
    device: Device,
    draft: Draft,
    reading: Reading,
    listening: Listening,
    now_us: int,
    *,
    repeat: bool = False,
) -> list[Finding]:
    """Show a reading to every evaluator (a repeated one only to those that ask for repeats)."""
    found: list[Finding] = []
    for evaluator in evaluators:
        if repeat and not evaluator.sees_repeats:
            continue
        memory: Any = draft.memory.get(evaluator.name)
        judged = _contained(evaluator, partial(evaluator.observe, device, memory, reading, listening, now_us))
        if judged is not None:
            _take_over(draft, evaluator.name, judged, now_us)
            found.extend(judged.findings)
    return found


def wake(
    evaluators: Sequence[Evaluator[Any]], device: Device, draft: Draft, listening: Listening, now_us: int
) -> list[Finding]:
    """Wake those evaluators whose time has come."""
    found: list[Finding] = []
    for evaluator in evaluators:
        due_us = draft.wake_us.get(evaluator.name)
        if due_us is None or due_us > now_us:
            continue
        del draft.wake_us[evaluator.name]
        memory: Any = draft.memory.get(evaluator.name)
        judged = _contained(evaluator, partial(evaluator.wake, device, memory, listening, now_us))
        if judged is not None:
            _take_over(draft, evaluator.name, judged, now_us)
            found.extend(judged.findings)
    return found


def disconnected(
    evaluators: Sequence[Evaluator[Any]],
    device: Device,
    draft: Draft,
    ending: Ending,
    listening: Listening,
    now_us: int,
) -> list[Finding]:
    """Tell those evaluators that remember the device that its last connection has ended."""
    found: list[Finding] = []
    for evaluator in evaluators:
        memory: Any = draft.memory.get(evaluator.name)
        if memory is None:
            continue
        judged = _contained(evaluator, partial(evaluator.disconnected, device, memory, ending, listening, now_us))
        if judged is not None:
            _take_over(draft, evaluator.name, judged, now_us)
            found.extend(judged.findings)
    return found


def revive(evaluators: Sequence[Evaluator[Any]], state: DeviceState) -> DeviceState:
    """Turn stored JSON back into each evaluator's memory type; what no longer fits is forgotten, with a warning."""
    memory = dict(state.memory)
    for evaluator in evaluators:
        if evaluator.name in memory:
            try:
                memory[evaluator.name] = msgspec.convert(memory[evaluator.name], evaluator.memory_type)
            except msgspec.ValidationError as error:
                log.warning("memory.unreadable", evaluator=evaluator.name, device=str(state.key), error=str(error))
                del memory[evaluator.name]
    return msgspec.structs.replace(state, memory=memory)


def _take_over(draft: Draft, name: str, judged: Judgement, now_us: int) -> None:
    draft.memory[name] = judged.memory
    if judged.wake_at_us is None:
        draft.wake_us.pop(name, None)
    else:
        draft.wake_us[name] = max(judged.wake_at_us, now_us + _SOONEST_WAKE_US)
    if judged.status is not None:
        if judged.status != draft.status:
            draft.status, draft.status_since_us = judged.status, now_us
        draft.status_until_us = judged.status_until_us


def _contained(evaluator: Evaluator[Any], judge: Callable[[], Judgement | None]) -> Judgement | None:
    try:
        return judge()
    except Exception:
        failures.labels(evaluator.name).inc()
        log.exception("evaluator.failed", evaluator=evaluator.name)
        return None
