"""MQTT: the window of one connection by itself, in the turns that a socket does not reach on purpose."""

from __future__ import annotations

import asyncio

import pytest

from pulse_core.api import COMMITTED, RETRY_LATER, RawMessage
from pulse_core.testing.intake import FakeIntake
from pulse_mqtt.window import Window
from support.waiting import until


class Owner:
    def __init__(self) -> None:
        self.acknowledged = b""
        self.waits: list[bool] = []
        self.failures: list[BaseException] = []

    def decided(self, acknowledgements: bytes) -> None:
        self.acknowledged += acknowledgements

    def waiting(self, waits: bool) -> None:
        self.waits.append(waits)

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)


def message(number: int) -> RawMessage:
    return RawMessage("tenant-a", "device-1", "telemetry", b"%d" % number, 0, "mqtt", authenticated=True)


def window_of(intake: FakeIntake, owner: Owner) -> Window:
    return Window(intake, owner, set(), lambda acknowledgement, _outcome: acknowledgement)


def payloads(intake: FakeIntake) -> list[bytes]:
    return [one.payload for one in intake.committed]


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


async def test_what_comes_later_waits_behind_what_has_no_room(intake: FakeIntake) -> None:
    owner = Owner()
    window = window_of(intake, owner)
    intake.fill()
    window.submit([message(1)], [b"1"], 1)
    intake.room_for = None
    intake.script.extend([COMMITTED] * 2)
    window.submit([message(2)], [b"2"], 1)
    await asyncio.sleep(0.05)
    assert (owner.acknowledged, intake.committed, owner.waits) == (b"", [], [True])
    assert window.undecided == 2
    intake.make_room()
    await until(lambda: owner.waits == [True, False])
    assert (owner.acknowledged, payloads(intake)) == (b"12", [b"1", b"2"])
    assert (window.undecided, window.undecided_bytes) == (0, 0)


async def test_a_late_refusal_holds_back_acknowledgements_but_not_outcomes(intake: FakeIntake) -> None:
    owner = Owner()
    window = window_of(intake, owner)
    intake.hold()
    window.submit([message(1), message(2), message(3)], [b"1", b"2", b"3"], 3)
    window.submit([message(4)], [b"4"], 1)
    first, second = intake.pending
    intake.script.append(COMMITTED)
    intake.decide(second)
    intake._has_room.clear()
    intake.script.extend([COMMITTED, RETRY_LATER, COMMITTED])
    intake.decide(first)
    await until(lambda: owner.waits == [True])
    assert owner.acknowledged == b""
    intake.script.append(COMMITTED)
    intake.make_room()
    intake.release()
    await until(lambda: owner.acknowledged == b"1234")
    assert payloads(intake) == [b"4", b"1", b"3", b"2"]
    assert [one.payload for one in intake.submissions[-1]] == [b"2"]


async def test_a_drain_forgets_what_turns_out_to_have_no_room(intake: FakeIntake) -> None:
    owner = Owner()
    window = window_of(intake, owner)
    intake.hold()
    window.submit([message(1)], [b"1"], 1)
    window.submit([message(2)], [b"2"], 1)
    window.submit([message(3)], [b"3"], 1)
    window.drain()
    assert window.undecided == 3
    intake.script.extend([COMMITTED, RETRY_LATER, COMMITTED])
    intake.release()
    await until(lambda: not window.undecided)
    assert (owner.acknowledged, owner.waits) == (b"1", [])


async def test_a_closed_window_says_nothing(intake: FakeIntake) -> None:
    owner = Owner()
    window = window_of(intake, owner)
    intake.hold()
    intake.script.extend([COMMITTED] * 2)
    window.submit([message(1)], [b"1"], 1)
    window.close()
    intake.release()
    await asyncio.sleep(0)
    assert (owner.acknowledged, owner.failures) == (b"", [])


async def test_an_intake_that_cannot_say_when_there_is_room(intake: FakeIntake) -> None:
    class Broken(FakeIntake):
        async def room(self) -> None:
            raise RuntimeError("a fault of ours")

    owner = Owner()
    broken = Broken()
    broken.fill()
    window_of(broken, owner).submit([message(1)], [b"1"], 1)
    await until(lambda: owner.failures)
    assert owner.acknowledged == b""
