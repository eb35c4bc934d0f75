"""Timers, rate limits, routing, alert transitions and redelivery: pure parts, each against a plain model."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core import alerts, ingest, redelivery, routing
from pulse_core.intake.pacing import Pacer
from pulse_core.lanes.timers import Timers
from pulse_core.records import (
    AlertChange,
    AlertEvent,
    DeviceKey,
    DeviceState,
    Finding,
    OpenAlert,
    RawMessage,
    Reading,
    Route,
    Severity,
)
from pulse_core.settings import Settings
from support.memory import START_US, a_device

KEY = DeviceKey("tenant-a", "dev-1")


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 50)), max_size=40), st.integers(0, 60))
def test_timers_fire_exactly_what_is_due(moves: list[tuple[int, int | None]], now_us: int) -> None:
    timers, model = Timers(), dict[DeviceKey, int]()
    for number, wake_us in moves:
        key = DeviceKey("t", str(number))
        timers.set(key, wake_us)
        if wake_us is None:
            model.pop(key, None)
        else:
            model[key] = wake_us
    next_us = timers.next_us()
    assert next_us is None or not model or next_us <= min(model.values())
    assert sorted(timers.due(now_us, 100)) == sorted(key for key, at in model.items() if at <= now_us)
    assert timers.due(now_us, 100) == []
    assert sorted(timers.due(1000, 100)) == sorted(key for key, at in model.items() if at > now_us)


def test_timers_keep_one_heap_entry_a_device_and_respect_the_limit() -> None:
    timers = Timers()
    for wake_us in range(10, 10_000):
        timers.set(KEY, wake_us)
    assert len(timers._heap) == 1
    for number in range(10):
        timers.set(DeviceKey("t", str(number)), 5)
    assert len(timers.due(5, 4)) == 4
    assert len(timers.due(5, 100)) == 6


def test_a_device_may_burst_and_then_sends_at_its_rate() -> None:
    pacer = Pacer(rps=5, burst=20)
    now_us = START_US
    assert [pacer.take(KEY, now_us) for _ in range(20)] == [0.0] * 20
    assert pacer.take(KEY, now_us) == pytest.approx(0.2)
    assert pacer.take(KEY, now_us + 199_000) > 0
    assert pacer.take(KEY, now_us + 200_000) == 0.0
    assert pacer.take(DeviceKey("tenant-a", "dev-2"), now_us) == 0.0, "one device never pays for another"
    assert [pacer.take(KEY, now_us + 60_000_000) for _ in range(21)].count(0.0) == 20, "credit never exceeds the burst"


def test_borrowing_says_how_long_to_stop_reading() -> None:
    pacer = Pacer(rps=10, burst=20)
    assert pacer.borrow(KEY, 20, START_US) == 0.0
    assert pacer.borrow(KEY, 5, START_US) == pytest.approx(0.5)
    assert pacer.borrow(KEY, 5, START_US + 500_000) == pytest.approx(0.5)


def test_idle_devices_are_forgotten() -> None:
    pacer = Pacer(rps=1000, burst=1)
    for number in range(30_000):
        pacer.take(DeviceKey("t", str(number)), START_US + number * 1_000_000)
    assert len(pacer._paid_us) <= 10_001


def a_change(event: AlertEvent = AlertEvent.OPEN, severity: Severity = Severity.MAJOR) -> AlertChange:
    alert = OpenAlert(uuid.uuid4(), "NO_HEARTBEAT", "f", severity, 0.9, "silent", "site-1", START_US, {"a": 1})
    return AlertChange(KEY, event, alert, START_US + 1_500_000)


def a_route(**conditions: object) -> Route:
    route = Route("tenant-a", uuid.uuid4(), uuid.uuid4())
    return msgspec.structs.replace(route, **conditions)


@pytest.mark.parametrize(
    ("route", "failed"),
    [
        (a_route(), None),
        (a_route(enabled=False), "enabled"),
        (a_route(deliver_on=frozenset({"CLOSED"})), "deliver_on"),
        (a_route(alert_types=frozenset({"OTHER"})), "alert_types"),
        (a_route(alert_types=frozenset({"OTHER", "NO_HEARTBEAT"})), None),
        (a_route(severities=frozenset({1, 5})), "severities"),
        (a_route(severities=frozenset({4})), None),
        (a_route(min_severity=5), "min_severity"),
        (a_route(min_severity=4), None),
        (a_route(site_ids=frozenset({"site-2"})), "site_ids"),
        (a_route(device_prefixes=("pump-", "fan-")), "device_prefixes"),
        (a_route(device_prefixes=("pump-", "dev")), None),
    ],
)
def test_a_route_says_which_condition_failed(route: Route, failed: str | None) -> None:
    decision = routing.decide(route, a_change())
    assert (decision.matched, decision.failed) == (failed is None, failed)


def test_every_matching_route_fires_in_order_of_priority() -> None:
    routes = [a_route(priority=200), a_route(enabled=False), a_route(priority=1)]
    decisions, deliveries = routing.route(routes, a_change())
    assert len(decisions) == 3
    assert [one.route_id for one in deliveries] == [routes[2].route_id, routes[0].route_id]
    assert {one.integration_id for one in deliveries} == {routes[0].integration_id, routes[2].integration_id}
    assert len({one.delivery_id for one in deliveries}) == 2


def test_what_a_receiver_is_told() -> None:
    change = a_change(AlertEvent.CLOSED)
    told = msgspec.json.decode(routing.notification(change, uuid.UUID(int=7)).to_json())
    assert told == {
        "alert_id": str(change.alert.alert_id),
        "tenant_id": "tenant-a",
        "site_id": "site-1",
        "device_id": "dev-1",
        "alert_type": "NO_HEARTBEAT",
        "severity": 4,
        "severity_name": "MAJOR",
        "confidence": 0.9,
        "summary": "silent",
        "status": "CLOSED",
        "event": "CLOSED",
        "created_at": "2027-01-15T08:00:00+00:00",
        "closed_at": "2027-01-15T08:00:01.500000+00:00",
        "details": {"a": 1},
        "delivery_id": str(uuid.UUID(int=7)),
    }
    assert b"closed_at" not in routing.notification(a_change(), uuid.uuid4()).to_json()


def test_an_alert_opens_once_and_closes_once() -> None:
    device = a_device()
    holds, holds_not = Finding("X", active=True), Finding("X", active=False)
    opened, after = alerts.transition(device, {}, [holds, holds], START_US)
    assert [change.event for change in opened] == [AlertEvent.OPEN]
    assert alerts.transition(device, after, [holds], START_US) == ([], after)
    closed, nothing = alerts.transition(device, after, [holds_not, holds_not], START_US + 5)
    assert [(change.event, change.alert.alert_id) for change in closed] == [
        (AlertEvent.CLOSED, opened[0].alert.alert_id)
    ]
    assert nothing == {}
    keyed, _ = alerts.transition(device, after, [Finding("X", active=True, key="rule-1")], START_US)
    assert len(keyed) == 1, "a key of its own is an alert of its own"


@dataclass
class Sent:
    ts: int | None
    seq: int | None
    value: int


@given(
    st.lists(
        st.builds(
            Sent,
            ts=st.none() | st.integers(0, 5),
            seq=st.none() | st.integers(0, 3),
            value=st.integers(0, 1),
        ),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_sorting_out_agrees_with_looking_everything_up(sent: list[Sent], committed: int) -> None:
    """Whatever was sent, in whatever batches: the short cut finds the same repeats as a look-up of every reading."""
    readings = [_reading(one, START_US + index) for index, one in enumerate(sent)]
    stored: list[Reading] = []
    state: dict[DeviceKey, DeviceState] = {}
    for batch in (readings[:committed], readings[committed:]):
        repeats, doubtful = redelivery.sort_out(batch, state)
        repeats |= {index for index, key in doubtful if _is_stored(key.ts_us, key.key_hash, key.since_us, stored)}
        new = [reading for index, reading in enumerate(batch) if index not in repeats]
        for index in repeats:
            assert _same(batch[index], stored + batch[:index]), "only what was seen before is dropped"
        for reading in new:
            others = [one for one in stored + new if one is not reading]
            assert not (reading.own_ts and _same(reading, others)), "a (ts, hash) is stored once"
        stored += new
        for reading in new:
            before = state.get(KEY, DeviceState(KEY))
            seq = before.last_seq if reading.seq is None else reading.seq
            state[KEY] = DeviceState(KEY, last_ts_us=max(before.last_ts_us, reading.ts_us), last_seq=seq)


def _same(reading: Reading, others: list[Reading]) -> bool:
    return any(
        one.key_hash == reading.key_hash and (one.ts_us == reading.ts_us or not reading.own_ts) for one in others
    )


def _is_stored(ts_us: int, key_hash: int, since_us: int | None, stored: list[Reading]) -> bool:
    return any(
        one.key_hash == key_hash and (one.ts_us == ts_us if since_us is None else one.ts_us >= since_us)
        for one in stored
    )


def _reading(sent: Sent, received_us: int) -> Reading:
    fields = {"site_id": "site-1", "seq": sent.seq, "metrics": {"v": sent.value}}
    if sent.ts is not None:
        fields["ts"] = START_US // 1000 - 1000 + sent.ts
    raw = RawMessage("tenant-a", "dev-1", "telemetry", msgspec.json.encode(fields), received_us, "test")
    return ingest.admit(raw, a_device(), Settings(), received_us)


def test_an_ascending_stream_is_never_looked_up() -> None:
    state = {KEY: DeviceState(KEY, last_ts_us=START_US - 2_000_000, last_seq=5)}
    readings = [_reading(Sent(ts, 6 + ts, 0), START_US) for ts in range(100)]
    assert redelivery.sort_out(readings, state) == (set(), [])
    without_ts = [_reading(Sent(None, 6 + seq, 0), START_US + seq) for seq in range(100)]
    assert redelivery.sort_out(without_ts, state) == (set(), [])


def test_a_device_of_which_nothing_is_known_is_looked_up() -> None:
    """It may have been deleted and registered again, and now repeats what it said in its former life."""
    readings = [_reading(Sent(ts, None, 0), START_US) for ts in range(3)]
    for state in ({}, {KEY: DeviceState(KEY)}):
        _, doubtful = redelivery.sort_out(readings, state)
        assert [key.ts_us for _, key in doubtful] == [reading.ts_us for reading in readings]
