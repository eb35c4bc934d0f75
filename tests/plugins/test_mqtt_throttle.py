"""Failed logins, connections by address, and those who have not logged in: bounded, and fair to neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.api import DeviceKey, Ending
from pulse_mqtt import throttle as throttling
from pulse_mqtt.addresses import Crowd, place_of
from pulse_mqtt.strangers import Strangers
from pulse_mqtt.throttle import LoginThrottle

HERE, THERE = "192.0.2.1", "192.0.2.2"
BROKEN, NEIGHBOUR, NEW = (DeviceKey("acme", name) for name in ("broken", "neighbour", "new"))


def exhausted(address: str = HERE, *, burst: int = 3, per_s: float = 1.0) -> LoginThrottle:
    throttle = LoginThrottle(burst, per_s)
    for _ in range(burst):
        assert throttle.admits(address, BROKEN, 0)
        throttle.failed(address, 0)
    return throttle


def test_failures_beyond_the_burst_are_refused_unexamined_and_time_gives_back() -> None:
    throttle = exhausted()
    assert not throttle.admits(HERE, BROKEN, 0)
    assert not throttle.admits(HERE, NEW, 0.9)
    assert throttle.admits(THERE, BROKEN, 0)
    assert throttle.admits(HERE, BROKEN, 1)
    throttle.failed(HERE, 1)
    assert not throttle.admits(HERE, BROKEN, 1.9)
    for _ in range(3):
        assert throttle.admits(HERE, BROKEN, 1_000)
        throttle.failed(HERE, 1_000)
    assert not throttle.admits(HERE, BROKEN, 1_000)


def test_logins_that_succeed_cost_nothing() -> None:
    throttle = LoginThrottle(1, 0.001)
    for number in range(1_000):
        key = DeviceKey("acme", f"d-{number}")
        assert throttle.admits(HERE, key, 0)
        throttle.welcomed(HERE, key)


def test_a_broken_device_does_not_lock_out_its_neighbours() -> None:
    throttle = LoginThrottle(3, 1)
    throttle.welcomed(HERE, NEIGHBOUR)
    for _ in range(10):
        throttle.failed(HERE, 0)
    assert throttle.admits(HERE, NEIGHBOUR, 0)
    assert not throttle.admits(HERE, BROKEN, 0)
    throttle.welcomed(THERE, NEIGHBOUR)
    assert not throttle.admits(HERE, NEIGHBOUR, 0)


def test_it_can_be_switched_off() -> None:
    throttle = exhausted(per_s=0)
    throttle.welcomed(HERE, NEIGHBOUR)
    assert throttle.admits(HERE, BROKEN, 0)
    assert len(throttle) == 0


def test_whoever_has_one_address_of_ipv6_has_them_all() -> None:
    throttle = exhausted("2001:db8::1")
    assert not throttle.admits("2001:db8::ffff:ffff:ffff:ffff", BROKEN, 0)
    assert throttle.admits("2001:db8:0:1::1", BROKEN, 0)
    throttle.welcomed("2001:db8::2", NEIGHBOUR)
    assert throttle.admits("2001:db8::3", NEIGHBOUR, 0)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_places(address: str, place: str) -> None:
    assert place_of(address) == place


def test_what_is_remembered_is_bounded_and_the_latest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "MOST_PLACES", 10)
    monkeypatch.setattr(throttling, "MOST_FAMILIAR", 20)
    throttle = LoginThrottle(1, 0.001)
    for number in range(100):
        throttle.failed(HERE, number)
        throttle.failed(f"198.51.100.{number}", number)
        throttle.welcomed(HERE, NEIGHBOUR)
        throttle.welcomed(HERE, DeviceKey("acme", f"d-{number}"))
    assert len(throttle) == 30
    assert not throttle.admits(HERE, NEW, 100)
    assert throttle.admits(HERE, NEIGHBOUR, 100)
    assert throttle.admits(HERE, DeviceKey("acme", "d-99"), 100)
    assert not throttle.admits(HERE, DeviceKey("acme", "d-1"), 100)


@given(
    st.integers(1, 20),
    st.floats(0.1, 50),
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from([HERE, THERE]), st.booleans()), max_size=200),
)
def test_no_place_fails_more_often_than_burst_and_rate_allow(
    burst: int, per_s: float, steps: list[tuple[float, str, bool]]
) -> None:
    throttle = LoginThrottle(burst, per_s)
    now_s = 0.0
    failures: dict[str, list[float]] = {HERE: [], THERE: []}
    for later_s, address, good in steps:
        now_s += later_s
        if not throttle.admits(address, BROKEN, now_s):
            assert len(failures[address]) >= burst
        elif not good:
            throttle.failed(address, now_s)
            failures[address].append(now_s)
    for at_s in failures.values():
        for first in range(len(at_s)):
            for last in range(first, len(at_s)):
                assert last - first + 1 <= burst + (at_s[last] - at_s[first]) * per_s + 1e-6


def test_connections_of_one_place_are_counted() -> None:
    crowd = Crowd(2)
    assert [crowd.enter("2001:db8::1"), crowd.enter("2001:db8::2"), crowd.enter("2001:db8::3")] == [True, True, False]
    assert crowd.enter(HERE)
    crowd.leave("2001:db8::2")
    assert crowd.enter("2001:db8::4")
    for address in ("2001:db8::1", "2001:db8::4", HERE):
        crowd.leave(address)
    assert len(crowd) == 0


def test_without_a_limit_nothing_is_counted() -> None:
    crowd = Crowd(0)
    assert all(crowd.enter(HERE) for _ in range(10_000))
    assert len(crowd) == 0
    crowd.leave(HERE)


class Guest:
    def __init__(self) -> None:
        self.why = ""

    def abort(self, why: str, ending: Ending) -> None:
        assert ending is Ending.SERVER_ERROR
        self.why = why


def test_the_oldest_stranger_is_sent_away() -> None:
    guests = [Guest() for _ in range(5)]
    strangers: Strangers[Guest] = Strangers(2)
    strangers.enter(guests[0])
    strangers.enter(guests[1])
    strangers.leave(guests[0])  # logged in
    strangers.enter(guests[2])
    assert not any(one.why for one in guests)
    strangers.enter(guests[3])
    strangers.enter(guests[4])
    assert [bool(one.why) for one in guests] == [False, True, True, False, False]
    strangers.leave(guests[1])
    assert len(strangers) == 2
