"""The window against an intake of moods: order, once, and nothing acknowledged that is not decided."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, cast

import pytest

from pulse_core.api import COMMITTED, RETRY_LATER, Outcome, RawMessage, Reason, Verdict
from pulse_mqtt_bridge import window as window_module
from pulse_mqtt_bridge.window import Entry, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import Intake

MANY = 40
REFUSED = Outcome(Verdict.REJECTED, Reason.INVALID_FIELD)


class MoodyIntake:
    """Answers when it likes, and often that it has no room."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.in_flight: set[str] = set()
        self.sent_back: set[str] = set()
        self.taken: list[str] = []
        """In the order of the submissions that were answered with yes or no."""

    def submit(self, messages: Sequence[RawMessage]) -> asyncio.Future[list[Outcome]]:
        names = [message.device_id for message in messages]
        assert names == sorted(names), "out of order"
        assert not self.in_flight & set(names), "handed over while it is being decided"
        assert not self.sent_back - set(names) or max(names) <= min(self.sent_back - set(names)), (
            "went past one that waits for room"
        )
        self.sent_back -= set(names)
        self.in_flight |= set(names)
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        mood = self.chance.random()
        if mood < 0.3:
            self._answer(names, future, room=False)
        else:
            delay_s = self.chance.choice([0, 0, 0.001, 0.003])
            asyncio.get_running_loop().call_later(delay_s, self._answer, names, future)
        return future

    def _answer(self, names: list[str], future: asyncio.Future[list[Outcome]], *, room: bool = True) -> None:
        outcomes = []
        for name in names:
            outcome = self.chance.choice([COMMITTED, COMMITTED, COMMITTED, REFUSED, RETRY_LATER])
            outcome = outcome if room else RETRY_LATER
            self.in_flight.discard(name)
            if outcome is RETRY_LATER:
                self.sent_back.add(name)
            else:
                self.taken.append(name)
            outcomes.append(outcome)
        future.set_result(outcomes)

    async def room(self) -> None:
        await asyncio.sleep(self.chance.choice([0, 0, 0.001]))


class Notes:
    """The owner of a window."""

    def __init__(self, intake: MoodyIntake) -> None:
        self.intake = intake
        self.decisions: list[int] = []
        self.acknowledged: list[int] = []
        self.crowds: list[bool] = []
        self.done = asyncio.Event()

    def decided(self, entry: Entry) -> None:
        self.decisions.append(entry.packet_id)

    def acknowledge(self, entry: Entry) -> None:
        assert entry.decided
        self.acknowledged.append(entry.packet_id)
        if len(self.acknowledged) == MANY:
            self.done.set()

    def crowded(self, crowded: bool) -> None:
        self.crowds.append(crowded)

    def failed(self, error: BaseException) -> None:
        raise error


def message(number: int) -> RawMessage:
    return RawMessage("tenant-a", f"{number:04}", "event", b"{}", 0, "test")


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_the_intake_does_all_goes_through_once_and_in_order(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_module, "_FIRST_PAUSE_S", 0.0005)
    monkeypatch.setattr(window_module, "_LONGEST_PAUSE_S", 0.002)
    chance = random.Random(seed)
    troubles: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, trouble: troubles.append(trouble))
    intake = MoodyIntake(chance)
    notes = Notes(intake)
    window = Window(cast("Intake", intake), notes, 10)
    for number in range(1, MANY + 1):
        window.add(Entry(message(number) if chance.random() < 0.9 else None, 1, number))
        if chance.random() < 0.3:
            await asyncio.sleep(chance.choice([0, 0.001]))
    waiting = asyncio.create_task(notes.done.wait())
    await asyncio.wait((waiting,), timeout=30)
    assert not troubles
    assert waiting.done(), f"stuck after {notes.acknowledged}"
    assert notes.acknowledged == list(range(1, MANY + 1))
    assert len(set(intake.taken)) == len(intake.taken), "taken twice"
    assert notes.crowds == [True, False] * (len(notes.crowds) // 2)
    assert not any(window.holds(number) for number in range(1, MANY + 1))
    await window.settled()


async def test_after_the_end_nothing_is_acknowledged_and_decisions_are_still_told() -> None:
    waiting: list[asyncio.Future[list[Outcome]]] = []

    class Slow(MoodyIntake):
        def submit(self, messages: Sequence[RawMessage]) -> asyncio.Future[list[Outcome]]:
            waiting.append(asyncio.get_running_loop().create_future())
            return waiting[-1]

    notes = Notes(Slow(random.Random(1)))
    window = Window(cast("Intake", notes.intake), notes, 10)
    window.add(Entry(message(1), 2, 1))
    await asyncio.sleep(0)
    window.add(Entry(message(2), 2, 2))
    await asyncio.sleep(0)
    settled = asyncio.create_task(window.settled())
    window.close()
    waiting[1].set_result([RETRY_LATER])
    await asyncio.sleep(0)
    assert not settled.done()
    waiting[0].set_result([COMMITTED])
    await asyncio.wait_for(settled, 5)
    assert notes.decisions == [1]
    assert notes.acknowledged == []
    assert len(waiting) == 2, "nothing is handed over again"
