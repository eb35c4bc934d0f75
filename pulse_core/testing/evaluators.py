"""The contract of an evaluator. Inherit it, tell a story in which it opens something and closes it, run pytest::

    class TestHeartbeatContract(EvaluatorContract):
        evaluator = HeartbeatEvaluator

        def story(self):
            return [a_reading(at_s=0), a_reading(at_s=100)]

The story is played as the platform plays it: reading by reading at the time it was received, with every wake-up that
falls due in between.
"""

from __future__ import annotations

import copy
import datetime as dt
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import msgspec
from msgspec import Struct

from pulse_core.api import Device, DeviceKey, Evaluator, Judgement, Listening, MsgType, Reading
from pulse_core.contributions import KINDS, check_contribution
from pulse_core.device_connections import STALE_ON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from pulse_core.records import MetricValue

START_US = 1_767_323_045_000_000
"""When stories begin: 2026-01-02 03:04:05 UTC."""
SAME_CALENDAR_US = 146_097 * 86_400 * 1_000_000
"""400 years: afterwards the Gregorian calendar repeats itself, weekdays included."""

_MANY_WAKES = 10_000


def a_device(device_id: str = "pump-7", *, stale_after_s: float | None = None) -> Device:
    """Return an active device of tenant-a at site-1."""
    key = DeviceKey("tenant-a", device_id)
    return Device(key, "site-1", revoked=False, token_hash=b"\0" * 32, partition=0, stale_after_s=stale_after_s)


def a_reading(*, at_s: float, msg_type: MsgType = MsgType.TELEMETRY, **metrics: MetricValue) -> Reading:
    """Return a reading that was received (and stamped) ``at_s`` seconds after the story began."""
    at_us = START_US + round(at_s * 1_000_000)
    return Reading(
        device=a_device().key,
        ts_us=at_us,
        key_hash=at_us,
        received_us=at_us,
        msg_type=msg_type,
        site_id="site-1",
        seq=None,
        metrics=metrics,
        metrics_json=msgspec.json.encode(metrics).decode(),
        source="http",
    )


class Step(Struct, frozen=True):
    """One call of the evaluator: a reading observed, or (``reading`` None) a wake-up; and what it answered."""

    reading: Reading | None
    memory: Any
    now_us: int
    answer: Judgement


class EvaluatorContract(ABC):
    """What every evaluator must do."""

    evaluator: ClassVar[type[Evaluator[Any]]]
    """The class under test."""
    config: ClassVar[dict[str, Any]] = {}
    """What an operator writes under ``[plugins.<name>]``."""
    device: ClassVar[Device] = a_device()
    """Whose story it is."""

    @abstractmethod
    def story(self) -> Sequence[Reading]:
        """Return readings of one device, oldest first, in which something opens and all that opens is closed."""

    # Playing

    def build(self) -> Evaluator[Any]:
        """Make a new evaluator, as the platform does at start."""
        return self.evaluator(self.evaluator.config_type.model_validate(self.config))

    def play(
        self,
        story: Sequence[Reading],
        *,
        between: Callable[[Any], Any] = lambda memory: memory,
        device: Device | None = None,
    ) -> list[Step]:
        """Play a story; ``between`` is done to the memory before every call."""
        device = device or self.device
        steps: list[Step] = []
        evaluator, memory, wake_us = self.build(), None, None
        listening = Listening(story[0].received_us)
        for reading in story:
            while wake_us is not None and wake_us <= reading.received_us:
                before, now_us = between(memory), wake_us
                answer = evaluator.wake(device, before, listening, now_us)
                steps.append(Step(None, before, now_us, answer))
                memory, wake_us = answer.memory, answer.wake_at_us
                assert wake_us is None or wake_us > now_us, "asks to be woken in the past: it would spin"
                assert len(steps) < _MANY_WAKES, "wakes up without end"
            before = between(memory)
            answer = evaluator.observe(device, before, reading, listening, reading.received_us)
            steps.append(Step(reading, before, reading.received_us, answer))
            memory, wake_us = answer.memory, answer.wake_at_us
        return steps

    def again(self, step: Step, *, evaluator: Evaluator[Any] | None = None, memory: Any = None) -> Judgement:
        """Ask a step's question again, by default of a new evaluator."""
        evaluator = evaluator or self.build()
        memory = step.memory if memory is None else memory
        listening = Listening(START_US)
        if step.reading is None:
            return evaluator.wake(self.device, memory, listening, step.now_us)
        return evaluator.observe(self.device, memory, step.reading, listening, step.now_us)

    # The contract

    def test_the_door_lets_it_in(self) -> None:
        """Its class keeps the rules of the plugin door."""
        kind = next(kind for kind in KINDS if kind.base is Evaluator)
        assert check_contribution(kind, self.evaluator) is self.evaluator

    def test_every_key_of_its_configuration_explains_itself(self) -> None:
        """The reference page is made of the docstrings."""
        schema = self.evaluator.config_type.model_json_schema()
        assert schema.get("description"), "the configuration has no docstring"
        for name, field in schema.get("properties", {}).items():
            assert field.get("description"), f"{name} has no docstring"

    def test_everything_that_opens_is_closed(self) -> None:
        """A finding that ends names the very alert that began: the same type and key."""
        opened: set[tuple[str, str]] = set()
        closed: set[tuple[str, str]] = set()
        holds: set[tuple[str, str]] = set()
        for step in self.play(self.story()):
            for finding in step.answer.findings:
                name = (finding.alert_type, finding.key)
                (opened if finding.active else closed).add(name)
                (holds.add if finding.active else holds.discard)(name)
        assert opened, "the story opens nothing"
        assert closed <= opened, f"{closed - opened} is closed but never opened"
        assert not holds, f"{holds} is still open at the end of the story"

    def test_the_same_question_gets_the_same_answer(self) -> None:
        """Nothing is kept in the object or in its module: batches are judged again after a failed commit."""
        evaluator = self.build()
        for step in self.play(self.story()):
            assert self.again(step) == step.answer
            assert self.again(step, evaluator=evaluator) == step.answer
            assert self.again(step, evaluator=evaluator) == step.answer

    def test_devices_do_not_disturb_each_other(self) -> None:
        """One object judges all devices."""
        story, evaluator = self.story(), self.build()
        other = a_device("pump-8")
        for step in self.play(story):
            for reading in story:
                evaluator.observe(other, None, reading, Listening(START_US), reading.received_us)
            assert self.again(step, evaluator=evaluator) == step.answer

    def test_what_it_is_given_stays_as_it_was(self) -> None:
        """Memory belongs to the committed state: new memory is installed only after the commit."""
        for step in self.play(self.story()):
            device, memory = copy.deepcopy(self.device), copy.deepcopy(step.memory)
            reading = copy.deepcopy(step.reading)
            self.again(step)
            assert step.memory == memory, "the memory was changed in place"
            assert (self.device, step.reading) == (device, reading), "the reading or the device was changed"

    def test_memory_survives_storage(self) -> None:
        """Stored as JSON and read back between all calls, it leads to the same answers: a restart changes nothing."""
        remembering = self.play(self.story())
        restarted = self.play(self.story(), between=self.stored)
        assert [step.answer for step in restarted] == [step.answer for step in remembering]

    def stored(self, memory: Any) -> Any:
        """Return memory as it comes back from the database."""
        return (
            memory
            if memory is None
            else msgspec.json.decode(msgspec.json.encode(memory), type=self.evaluator.memory_type)
        )

    def test_waking_too_early_is_harmless(self) -> None:
        """The platform may wake it early (another evaluator's timer, a restart): nothing is found, nothing is lost."""
        asked = [step for step in self.play(self.story()) if step.answer.wake_at_us is not None]
        for step in asked:
            wake_us = step.answer.wake_at_us
            assert wake_us is not None
            for now_us in (step.now_us, (step.now_us + wake_us) // 2, wake_us - 1):
                early = self.build().wake(self.device, step.answer.memory, Listening(START_US), now_us)
                assert not early.findings, f"finds something {(wake_us - now_us) / 1e6:g} s before its time"
                assert early.wake_at_us == wake_us, "forgets its wake-up"
                in_time = self.build().wake(self.device, step.answer.memory, Listening(START_US), wake_us)
                late = self.build().wake(self.device, early.memory, Listening(START_US), wake_us)
                assert late == in_time, "an early wake-up changed what it decides in time"

    def test_a_disconnect_is_judged_from_what_it_is_given(self) -> None:
        """Asked again, it answers the same, from memory that was stored, too; and changes nothing that it is given."""
        for step in self.play(self.story()):
            for ending in STALE_ON["always"]:
                device, memory = copy.deepcopy(self.device), copy.deepcopy(step.answer.memory)
                about = (ending, Listening(START_US), step.now_us)
                answer = self.build().disconnected(self.device, step.answer.memory, *about)
                assert self.build().disconnected(self.device, self.stored(memory), *about) == answer
                assert (self.device, step.answer.memory) == (device, memory), "the memory or the device was changed"
                if answer is not None:
                    assert self.stored(answer.memory) == answer.memory, "its memory does not survive storage"

    def test_it_judges_while_its_way_in_is_down(self) -> None:
        """A reading may arrive from a source that has just said that it is down."""
        for step in self.play(self.story()):
            if step.reading is not None:
                answer = self.build().observe(self.device, step.memory, step.reading, Listening(None), step.now_us)
                assert isinstance(answer, Judgement)

    def test_it_never_looks_at_the_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The time is passed in, so that history can be replayed."""
        expected = [step.answer for step in self.play(self.story())]
        with monkeypatch.context() as patch:
            for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "gmtime", "localtime"):
                patch.setattr(time, name, _no_clock)
            module = sys.modules[self.evaluator.__module__]
            for name, forbidden in _clockless_classes().items():
                for owner in (dt, module):
                    if getattr(owner, name, None) is getattr(dt, name):
                        patch.setattr(owner, name, forbidden)
            answers = [step.answer for step in self.play(self.story())]
        assert answers == expected

    def test_it_judges_the_same_in_another_century(self) -> None:
        """400 years later, on the same weekdays, the same things are found at the same moments."""
        now = self.play(self.story())
        later = self.play([_later(reading) for reading in self.story()])
        assert [_found(step, 0) for step in now] == [_found(step, SAME_CALENDAR_US) for step in later]


def _found(step: Step, shift_us: int) -> tuple[Any, ...]:
    wake_us = step.answer.wake_at_us
    findings = [(item.alert_type, item.key, item.active, item.severity) for item in step.answer.findings]
    return step.now_us - shift_us, findings, wake_us and wake_us - shift_us, step.answer.status


def _later(reading: Reading) -> Reading:
    return msgspec.structs.replace(
        reading, ts_us=reading.ts_us + SAME_CALENDAR_US, received_us=reading.received_us + SAME_CALENDAR_US
    )


def _no_clock(*_: object) -> NoReturn:
    raise AssertionError("the evaluator looked at the clock; use now_us and the reading's times")


def _clockless_classes() -> dict[str, type]:
    no_clock: Any = classmethod(_no_clock)
    return {
        "datetime": type("datetime", (dt.datetime,), {"now": no_clock, "utcnow": no_clock, "today": no_clock}),
        "date": type("date", (dt.date,), {"today": no_clock}),
    }
