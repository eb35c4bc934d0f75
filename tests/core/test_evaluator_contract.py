"""The evaluator contract kit: kept by the bundled evaluator, and seen to fail for each bad habit."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.api import Evaluator, Finding, Judgement, PluginConfig
from pulse_core.errors import PluginError
from pulse_core.testing.evaluators import EvaluatorContract, a_reading
from pulse_heartbeat import HeartbeatEvaluator

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.api import Device, Listening, Reading


class TestHeartbeatContract(EvaluatorContract):
    evaluator = HeartbeatEvaluator

    def story(self) -> list[Reading]:
        return [a_reading(at_s=0), a_reading(at_s=10), a_reading(at_s=100), a_reading(at_s=101)]


class Hot(msgspec.Struct, frozen=True):
    since_us: int | None = None


class Thermometer(Evaluator[Hot]):
    """HOT when the temperature was above 50 for a minute; each bad habit below is one change to it."""

    name = "thermometer"
    memory_type = Hot

    def observe(
        self, device: Device, memory: Hot | None, reading: Reading, listening: Listening, now_us: int
    ) -> Judgement:
        if float(reading.metrics["celsius"]) <= 50:
            return Judgement(Hot(), (Finding("HOT", active=False),))
        since_us = (memory.since_us if memory else None) or now_us
        return Judgement(Hot(since_us), (), since_us + 60_000_000 if since_us + 60_000_000 > now_us else None)

    def wake(self, device: Device, memory: Hot, listening: Listening, now_us: int) -> Judgement:
        if memory.since_us is None:
            return Judgement(memory)
        if now_us < memory.since_us + 60_000_000:
            return Judgement(memory, (), memory.since_us + 60_000_000)
        return Judgement(memory, (Finding("HOT", active=True),))


class ThermometerContract(EvaluatorContract):
    evaluator = Thermometer

    def story(self) -> list[Reading]:
        return [a_reading(at_s=0, celsius=70), a_reading(at_s=90, celsius=71), a_reading(at_s=120, celsius=20)]


class TestThermometerContract(ThermometerContract):
    pass


def spoilt(**changes: Any) -> EvaluatorContract:
    evaluator = type("Spoilt", (Thermometer,), {"__module__": __name__, **changes})
    contract: EvaluatorContract = type("Contract", (ThermometerContract,), {"evaluator": evaluator})()
    return contract


def counting(self: Any, device: Device, memory: Any, reading: Reading, listening: Listening, now_us: int) -> Judgement:
    self.calls = getattr(self, "calls", 0) + 1
    return Judgement(Hot(self.calls), (), None)


def clock(read: Callable[[], object]) -> Callable[..., Judgement]:
    def observe(self: Any, *arguments: Any) -> Judgement:
        read()
        return Thermometer.observe(self, *arguments)

    return observe


def hasty(self: Any, device: Device, memory: Hot, listening: Listening, now_us: int) -> Judgement:
    return Judgement(memory, (Finding("HOT", active=True),))


def forgetful(self: Any, device: Device, memory: Hot, listening: Listening, now_us: int) -> Judgement:
    ready = memory.since_us is not None and now_us >= memory.since_us + 60_000_000
    return Judgement(memory, (Finding("HOT", active=True),) if ready else ())


def other_key(self: Any, device: Device, memory: Hot, listening: Listening, now_us: int) -> Judgement:
    return Judgement(memory, (Finding("HOT", active=True, key="x"),))


def restless(self: Any, device: Device, memory: Hot, listening: Listening, now_us: int) -> Judgement:
    return Judgement(memory, (), now_us)


def meddling(self: Any, device: Device, memory: Any, reading: Reading, listening: Listening, now_us: int) -> Judgement:
    memory = {} if memory is None else memory
    memory["count"] = memory.get("count", 0) + 1
    return Judgement(memory, ())


class Undocumented(PluginConfig):
    limit: int = 50


def lossy(self: Any, device: Device, memory: Any, reading: Reading, listening: Listening, now_us: int) -> Judgement:
    """JSON makes texts of the keys."""
    return Judgement({1: (memory or {}).get(1, 0) + 1})


@pytest.mark.parametrize(
    ("test", "changes"),
    [
        ("test_the_door_lets_it_in", {"name": "Not a name"}),
        ("test_every_key_of_its_configuration_explains_itself", {"config_type": Undocumented}),
        ("test_everything_that_opens_is_closed", {"wake": other_key}),
        ("test_everything_that_opens_is_closed", {"wake": restless}),
        ("test_the_same_question_gets_the_same_answer", {"observe": counting}),
        ("test_devices_do_not_disturb_each_other", {"observe": counting}),
        ("test_what_it_is_given_stays_as_it_was", {"observe": meddling, "memory_type": dict}),
        ("test_memory_survives_storage", {"observe": lossy, "memory_type": Any}),
        ("test_waking_too_early_is_harmless", {"wake": hasty}),
        ("test_waking_too_early_is_harmless", {"wake": forgetful}),
    ],
)
def test_a_bad_habit_is_seen(test: str, changes: dict[str, Any]) -> None:
    with pytest.raises((AssertionError, PluginError)):
        getattr(spoilt(**changes), test)()


@pytest.mark.parametrize("read", [lambda: time.time() + 1, lambda: dt.datetime.now(dt.UTC)])
def test_looking_at_the_clock_is_seen(read: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="clock"):
        spoilt(observe=clock(read)).test_it_never_looks_at_the_clock(monkeypatch)


def by_the_wall_clock(
    self: Any, device: Device, memory: Any, reading: Reading, listening: Listening, now_us: int
) -> Judgement:
    late = now_us > (time.time() + 50 * 365 * 86_400) * 1e6
    return Judgement(Hot(), (Finding("HOT", active=late),))


def test_judging_by_the_wall_clock_is_seen_in_another_century() -> None:
    with pytest.raises(AssertionError):
        spoilt(observe=by_the_wall_clock).test_it_judges_the_same_in_another_century()
