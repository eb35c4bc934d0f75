"""Sessions of devices on their way to the store: together, in order, and never for ever in the hands of the dead."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.device_sessions import (
    LONGEST_CLIENT_ID,
    LONGEST_FILTER,
    MOST_EXPIRY_S,
    MOST_SUBSCRIPTIONS,
    Leaving,
    Opening,
)
from pulse_core.errors import StoreUnavailable
from pulse_core.intake import sessions
from pulse_core.intake.sessions import SessionKeeper
from pulse_core.records import DeviceKey
from pulse_core.testing.sessions import HeldSession, MemorySessions
from support.house import House
from support.memory import START_US, ManualClock
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = DeviceKey("tenant-a", "dev-1")
MINE = KEY, "c"
S = 1_000_000


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_RETRY_S", 0.01)


class Kept:
    def __init__(self) -> None:
        self.store, self.clock = MemorySessions(), ManualClock()
        self.keeper = SessionKeeper(self.store, self.clock)

    async def open(self, client_id: str = "c", *, clean: bool = False, expiry_s: int = 60) -> dict[str, int] | None:
        return await self.keeper.open(KEY, client_id, clean=clean, expiry_s=expiry_s)

    def opens(self, client_id: str = "c") -> asyncio.Task[dict[str, int] | None]:
        return asyncio.create_task(self.open(client_id))

    def saves(self, number: int) -> asyncio.Task[None]:
        return asyncio.create_task(self.keeper.save(KEY, "c", {"a": number}))

    @property
    def mine(self) -> HeldSession:
        return self.store.held[MINE]

    async def holding(self) -> asyncio.Event:
        """From now on the store does not answer; return what makes it."""
        self.store.hold = asyncio.Event()
        return self.store.hold


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    kept = Kept()
    await kept.keeper.settle()
    async with running(kept.keeper):
        yield kept


@asynccontextmanager
async def running(keeper: SessionKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_it_goes_on_where_it_was_left(kept: Kept) -> None:
    assert await kept.open() is None
    await kept.keeper.save(KEY, "c", {"a": 1})
    kept.keeper.leave(KEY, "c", 30)
    assert await kept.open() == {"a": 1}
    assert kept.mine.expires_us is None
    kept.clock.advance(5)
    kept.keeper.leave(KEY, "c", 30)
    await until(lambda: kept.mine.expires_us is not None)
    assert kept.mine.expires_us == START_US + 35 * S
    kept.clock.advance(31)
    assert await kept.open() is None


async def test_a_storm_of_logins_costs_few_transactions(kept: Kept) -> None:
    assert await asyncio.gather(*(kept.open(f"{number}") for number in range(1200))) == [None] * 1200
    assert [len(batch) for batch in kept.store.batches] == [sessions.BATCH, sessions.BATCH, 200]
    assert len(kept.store.settled) == 1


async def test_who_begins_anew_and_keeps_nothing_does_not_wait_for_the_database(kept: Kept) -> None:
    await kept.open()
    await kept.keeper.save(KEY, "c", {"a": 1})
    kept.keeper.leave(KEY, "c", 60)
    await until(lambda: kept.mine.expires_us is not None)
    hold = await kept.holding()
    assert await asyncio.wait_for(kept.open(clean=True, expiry_s=0), 10) is None
    assert await asyncio.wait_for(kept.open("never seen", clean=True, expiry_s=0), 10) is None
    after = kept.opens()
    hold.set()
    assert await after is None, "what was there is forgotten before anybody asks for it again"


async def test_so_many_may_begin_anew_and_no_more(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WAITING", 3)
    await kept.holding()
    for number in range(3):
        await kept.open(f"{number}", clean=True, expiry_s=0)
    with pytest.raises(StoreUnavailable):
        await kept.open("3", clean=True, expiry_s=0)


async def test_what_comes_while_one_transaction_runs_is_the_next(kept: Kept) -> None:
    hold = await kept.holding()
    first = kept.opens("first")
    await until(lambda: not kept.keeper._line and kept.keeper._asking)
    others = [kept.opens(f"{number}") for number in range(100)]
    await until(lambda: len(kept.keeper._line) == 100)
    hold.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in kept.store.batches] == [1, 100]


async def test_one_session_is_never_twice_in_a_transaction_and_goes_in_order(kept: Kept) -> None:
    asked = [kept.opens(), kept.opens("other"), *(kept.saves(number) for number in range(5))]
    await asyncio.sleep(0)
    kept.keeper.leave(KEY, "c", 60)
    again = kept.opens()
    await asyncio.gather(*asked)
    assert await again == {"a": 4}
    assert [len(batch) for batch in kept.store.batches] == [2, 1, 1, 1, 1, 1, 1, 1]
    for batch in kept.store.batches:
        assert len({deed.session for deed in batch}) == len(batch)


async def test_many_deeds_of_one_do_not_hold_up_the_others(kept: Kept) -> None:
    await kept.open()
    saving = [kept.saves(number) for number in range(1000)]
    await asyncio.sleep(0)
    await asyncio.gather(*(kept.open(f"{number}") for number in range(10)))
    assert len(kept.store.batches) < 5
    await asyncio.gather(*saving)
    assert kept.mine.subscriptions == {"a": 999}


async def test_while_the_store_is_away_nobody_waits_and_what_was_left_is_kept_in_mind(kept: Kept) -> None:
    await kept.open()
    kept.store.down = True
    kept.keeper.leave(KEY, "c", 30)
    for _ in range(3):
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable):
                await kept.open("other")
            with pytest.raises(StoreUnavailable):
                await kept.keeper.save(KEY, "other", {})
    kept.clock.advance(20)
    kept.store.down = False
    assert await kept.open("other") is None
    assert kept.mine.expires_us == START_US + 30 * S, "from when it was left"
    assert kept.keeper._leaving == 0


async def test_left_before_opened_also_through_an_outage(kept: Kept) -> None:
    await kept.open()
    kept.store.down = True
    kept.keeper.leave(KEY, "c", 0)
    with pytest.raises(StoreUnavailable):
        await kept.open()
    kept.store.down = False
    assert await kept.open() is None
    assert kept.mine.expires_us is None
    deeds = [type(deed) for batch in kept.store.batches for deed in batch]
    assert deeds == [Opening, Leaving, Opening]


async def test_what_may_have_been_opened_unnoticed_is_left(kept: Kept) -> None:
    await kept.open("other")
    kept.store.forgets_to_answer = True
    with pytest.raises(StoreUnavailable):
        await kept.open()
    assert kept.mine.expires_us is None
    kept.store.forgets_to_answer = False
    await until(lambda: kept.mine.expires_us is not None)
    assert kept.mine.expires_us == kept.clock.now_us() + 60 * S
    assert kept.store.held[KEY, "other"].expires_us is None, "that one is connected"


async def test_whoever_gives_up_in_line_opens_nothing(kept: Kept) -> None:
    hold = await kept.holding()
    first, mine = kept.opens("first"), kept.opens()
    await until(lambda: not kept.keeper._line and kept.keeper._asking)
    late = kept.opens("late")
    await until(lambda: len(kept.keeper._line) == 1)
    late.cancel()
    hold.set()
    await asyncio.gather(first, mine)
    await kept.open("last")
    assert {client_id for _, client_id in kept.store.held} == {"first", "c", "last"}


async def test_whoever_gives_up_while_it_is_opened_leaves_it(kept: Kept) -> None:
    hold = await kept.holding()
    gone = kept.opens()
    await until(lambda: not kept.keeper._line and kept.keeper._asking)
    again = kept.opens("again")
    twice = kept.opens("again")
    await until(lambda: len(kept.keeper._line.get((KEY, "again"), ())) == 2)
    gone.cancel()
    again.cancel()
    await asyncio.wait((gone, again))
    hold.set()
    await twice
    assert kept.store.held[KEY, "again"].expires_us is None
    await until(lambda: kept.mine.expires_us is not None)
    assert kept.mine.expires_us == kept.clock.now_us() + 60 * S


async def test_whoever_gives_up_as_the_answer_comes_leaves_it(kept: Kept) -> None:
    async def cancels() -> None:
        await kept.open("answered first")
        mine.cancel()

    cancelling, mine = asyncio.create_task(cancels()), kept.opens()
    with pytest.raises(asyncio.CancelledError):
        await mine
    await cancelling
    assert kept.mine.expires_us is None
    await until(lambda: kept.mine.expires_us is not None)


async def test_a_store_that_does_not_answer_is_not_waited_for(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PATIENCE_S", 0.1)
    monkeypatch.setattr(sessions, "IN_LINE", 3)
    hold = await kept.holding()
    async with asyncio.timeout(20):
        asked = await asyncio.gather(*(kept.open(f"{number}") for number in range(10)), return_exceptions=True)
    assert {type(each) for each in asked} == {StoreUnavailable}
    assert [str(each) for each in asked].count("too many ask for sessions") == 7
    hold.set()
    monkeypatch.setattr(sessions, "PATIENCE_S", 20)
    assert await kept.open() is None
    assert {client_id for (_, client_id), held in kept.store.held.items() if held.expires_us is None} == {"c"}


async def test_more_than_can_be_kept_in_mind_are_left_all_the_same(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "WAITING", 3)
    await asyncio.gather(*(kept.open(f"{number}") for number in range(10)))
    kept.store.down = True
    for number in range(9):
        kept.keeper.leave(KEY, f"{number}", 30)
    assert len(kept.keeper._line) == 3
    kept.store.down = False
    await until(lambda: not kept.keeper._line and kept.keeper._settled)
    await kept.open("last")
    assert {client_id for (_, client_id), held in kept.store.held.items() if held.expires_us is None} == {"9", "last"}


async def test_what_is_not_kept_costs_nothing_to_leave(kept: Kept) -> None:
    assert await kept.open(expiry_s=0) is None
    kept.keeper.leave(KEY, "c", 0)
    kept.keeper.leave(KEY, "never opened", 60)
    assert not kept.keeper._line
    assert not kept.store.held


@pytest.mark.parametrize(
    ("client_id", "expiry_s", "filters"),
    [
        ("c" * (LONGEST_CLIENT_ID + 1), 0, []),
        ("c", -1, []),
        ("c", MOST_EXPIRY_S + 1, []),
        ("c", 0, ["f" * (LONGEST_FILTER + 1)]),
        ("c", 0, [f"{number}" for number in range(MOST_SUBSCRIPTIONS + 1)]),
        ("a\0b", 0, []),
        ("\ud800", 0, []),
        ("c", 0, ["a\0b"]),
        ("c", 0, ["\udfff"]),
    ],
)
async def test_what_no_session_can_be_is_not_even_asked_for(
    kept: Kept, client_id: str, expiry_s: int, filters: list[str]
) -> None:
    async def session() -> None:
        await kept.open(client_id, expiry_s=expiry_s)
        await kept.keeper.save(KEY, client_id, dict.fromkeys(filters, 1))

    with pytest.raises(ValueError):
        await session()
    assert not kept.keeper._asking


async def test_a_process_that_stops_leaves_its_sessions_and_one_that_starts_those_of_a_dead_one() -> None:
    house = House()
    await house.start()
    assert await house.intake.open_session(KEY, "c", clean=False, expiry_s=60) is None
    await house.intake.open_session(KEY, "lost", clean=False, expiry_s=60)
    await house.intake.save_session(KEY, "c", {"a": 1})
    house.intake.leave_session(KEY, "c", 60)
    await house.stop()
    held = house.sessions.held
    assert held[MINE].expires_us == house.clock.now_us() + 60 * S
    assert held[KEY, "lost"].expires_us is None
    house.clock.advance(40)
    await house.start()
    assert held[KEY, "lost"].expires_us == house.clock.now_us() + 60 * S, "from now: when it ended nobody knows"
    assert held[MINE].expires_us == house.clock.now_us() + 20 * S
    assert await house.intake.open_session(KEY, "c", clean=False, expiry_s=60) == {"a": 1}
    await house.stop()
