"""Heartbeat: silence is judged by our clock, and only while we could hear the device."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_core import ingest
from pulse_core.api import DeviceStatus, Ending, Finding, Judgement, Listening, RawMessage, Reading, Severity
from pulse_core.device_connections import STALE_ON
from pulse_core.settings import Settings
from pulse_heartbeat import NO_HEARTBEAT, Heard, HeartbeatConfig, HeartbeatEvaluator
from support.memory import START_US, a_device

S = 1_000_000
ALWAYS = Listening(0)
DEVICE = a_device()


def evaluator() -> HeartbeatEvaluator:
    return HeartbeatEvaluator(HeartbeatConfig())


def reading(at_us: int) -> Reading:
    raw = RawMessage("tenant-a", "dev-1", "heartbeat", b'{"site_id":"site-1"}', at_us, "test")
    return ingest.admit(raw, DEVICE, Settings(), at_us)


def test_a_silent_device_is_stale_after_its_threshold_and_back_at_its_next_word() -> None:
    heartbeat = evaluator()
    first = heartbeat.observe(DEVICE, None, reading(START_US), ALWAYS, START_US)
    assert (first.status, first.wake_at_us, first.findings) == (DeviceStatus.ONLINE, START_US + 30 * S, ())
    silent = heartbeat.wake(DEVICE, first.memory, ALWAYS, START_US + 30 * S)
    assert silent.status is DeviceStatus.STALE
    (finding,) = silent.findings
    assert (finding.alert_type, finding.active, finding.severity, finding.confidence) == (
        NO_HEARTBEAT,
        True,
        Severity.MAJOR,
        0.9,
    )
    assert "dev-1" in finding.summary
    back = heartbeat.observe(DEVICE, silent.memory, reading(START_US + 50 * S), ALWAYS, START_US + 50 * S)
    assert back.status is DeviceStatus.ONLINE
    assert back.findings == (Finding(NO_HEARTBEAT, active=False),)


@pytest.mark.parametrize("ending", sorted(STALE_ON["always"]))
def test_a_device_that_disconnects_is_stale_at_once_and_back_at_its_next_word(ending: Ending) -> None:
    heartbeat, now_us = evaluator(), START_US + 2 * S
    gone = heartbeat.disconnected(DEVICE, Heard(START_US), ending, ALWAYS, now_us)
    assert gone is not None
    assert (gone.status, gone.wake_at_us, gone.memory) == (DeviceStatus.STALE, None, Heard(START_US, stale=True))
    (finding,) = gone.findings
    assert (finding.alert_type, finding.active, finding.severity, finding.confidence) == (
        NO_HEARTBEAT, True, Severity.MAJOR, 0.9,
    )  # fmt: skip
    assert finding.summary.startswith("dev-1 has disconnected (")
    assert finding.details == {"last_seen_at": "2027-01-15T08:00:00.000+00:00", "disconnected": ending}
    assert heartbeat.disconnected(DEVICE, gone.memory, ending, ALWAYS, now_us + S) is None, "that is known"
    back = heartbeat.observe(DEVICE, gone.memory, reading(now_us + S), ALWAYS, now_us + S)
    assert (back.status, back.findings) == (DeviceStatus.ONLINE, (Finding(NO_HEARTBEAT, active=False),))


def test_a_last_will_is_no_sign_of_life_unless_it_is_the_first_ever_heard() -> None:
    heartbeat, will = evaluator(), replace(reading(START_US + 9 * S), will=True)
    unmoved = heartbeat.observe(DEVICE, Heard(START_US), will, ALWAYS, START_US + 9 * S)
    assert unmoved == Judgement(Heard(START_US), (), START_US + 30 * S)
    gone = Heard(START_US, stale=True)
    assert heartbeat.observe(DEVICE, gone, will, ALWAYS, START_US + 9 * S) == Judgement(gone)
    assert heartbeat.observe(DEVICE, None, will, ALWAYS, START_US + 9 * S).wake_at_us == START_US + 39 * S


def test_a_device_has_its_own_threshold() -> None:
    hasty = a_device(stale_after_s=2)
    judged = evaluator().observe(hasty, None, reading(START_US), ALWAYS, START_US)
    assert judged.wake_at_us == START_US + 2 * S


def test_an_early_wake_up_waits_on() -> None:
    judged = evaluator().wake(DEVICE, Heard(START_US), ALWAYS, START_US + 30 * S - 1)
    assert (judged.findings, judged.status, judged.wake_at_us) == ((), None, START_US + 30 * S)


def test_after_an_outage_of_ours_the_silence_begins_anew() -> None:
    recovered_us = START_US + 3600 * S
    judged = evaluator().wake(DEVICE, Heard(START_US), Listening(recovered_us), recovered_us + 1)
    assert (judged.findings, judged.wake_at_us) == ((), recovered_us + 30 * S)
    judged = evaluator().wake(DEVICE, Heard(START_US), Listening(recovered_us), recovered_us + 30 * S)
    assert judged.status is DeviceStatus.STALE


@given(st.lists(st.integers(0, 100), max_size=20), st.integers(0, 200))
def test_stale_exactly_when_nothing_was_heard_for_the_threshold(gaps_s: list[int], end_s: int) -> None:
    heartbeat, memory, now_us, last_us = evaluator(), None, START_US, None
    events: list[bool] = []
    wake_us: int | None = None
    for step_s in [*gaps_s, None]:
        target_us = now_us + (end_s if step_s is None else step_s) * S
        if memory is not None and wake_us is not None and wake_us <= target_us:
            judged = heartbeat.wake(DEVICE, memory, ALWAYS, wake_us)
            memory, wake_us = judged.memory, judged.wake_at_us
            events += [one.active for one in judged.findings]
        now_us = target_us
        if step_s is not None:
            judged = heartbeat.observe(DEVICE, memory, reading(now_us), ALWAYS, now_us)
            memory, wake_us, last_us = judged.memory, judged.wake_at_us, now_us
            events += [one.active for one in judged.findings]
    opened = [gap for gap in gaps_s[1:] if gap >= 30]
    still_open = last_us is not None and end_s >= 30
    assert events == [True, False] * len(opened) + [True] * still_open


def test_the_memory_survives_storage() -> None:
    for memory in (Heard(START_US), Heard(START_US, stale=True)):
        assert msgspec.json.decode(msgspec.json.encode(memory), type=Heard) == memory


def test_a_threshold_must_be_positive() -> None:
    with pytest.raises(ValueError, match="stale_after_s"):
        HeartbeatConfig(stale_after_s=0)
