"""Clients that open, save, leave and give up, a store that comes and goes, a process that dies: against a small model.

The model keeps, for each client, all that the store may hold of its session: whoever got no answer cannot know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_core.errors import StoreUnavailable
from pulse_core.intake import sessions
from pulse_core.intake.sessions import SessionKeeper
from pulse_core.records import DeviceKey
from pulse_core.testing.sessions import MemorySessions
from support.memory import ManualClock
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

KEY = DeviceKey("tenant-a", "dev-1")
CLIENTS = 3
LONG_S = 1_000_000
"""No session of this test is over by itself."""
Subscriptions = tuple[tuple[str, int], ...] | None
"""None: there is no session."""


class Client:
    """One client, which does one thing at a time."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.task: asyncio.Task[None] | None = None
        self.connected = False
        self.kept = False
        self.possible: set[Subscriptions] = {None}
        self.left_behind: set[Subscriptions] = set()
        """What may be there still if we die before it is written that the client has left for good, or begun anew."""

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def start(self, doing: Coroutine[Any, Any, None]) -> None:
        self.judge()
        self.task = asyncio.create_task(doing)

    def judge(self) -> None:
        """Raise what the last deed found wrong."""
        if self.task and not self.task.cancelled():
            self.task.result()

    async def open(self, clean: bool, keep: bool) -> None:
        before, after = self.possible, {_opened(one, clean, keep) for one in self.possible}
        try:
            expiry_s = LONG_S if keep else 0
            found = await self.world.keeper.open(KEY, self.name, clean=clean, expiry_s=expiry_s)
        except (StoreUnavailable, asyncio.CancelledError):
            self.possible |= after
            self.connected = False
            self.world.keeper.leave(KEY, self.name, LONG_S)  # and whoever was connected before is no more
            return
        subscriptions = _frozen(found)
        assert subscriptions in ({None} if clean else self.possible), (self.name, found, self.possible)
        self.possible = {(subscriptions or ()) if keep else None}
        self.connected, self.kept, self.left_behind = True, keep, before if clean and not keep else set()

    async def save(self, number: int) -> None:
        saved: Subscriptions = (("a", number),) if self.kept else None
        try:
            await self.world.keeper.save(KEY, self.name, {"a": number})
        except (StoreUnavailable, asyncio.CancelledError):
            self.possible |= {saved}
        else:
            self.possible = {saved}

    def leave(self, for_good: bool) -> None:
        self.connected = False
        self.world.keeper.leave(KEY, self.name, 0 if for_good else LONG_S)
        if for_good:
            self.left_behind |= self.possible
            self.possible = {None}


class World:
    """The clients, the store, and the process between them."""

    def __init__(self) -> None:
        self.store = MemorySessions()
        self.clock = ManualClock()
        self.clients = [Client(self, f"{number}") for number in range(CLIENTS)]
        self.keeper: SessionKeeper
        self._running: asyncio.Task[None]

    async def begin(self) -> None:
        """A process begins, once the store answers."""
        self.everything_works()
        self.keeper = SessionKeeper(self.store, self.clock)
        await self.keeper.settle()
        self._running = asyncio.create_task(self.keeper.run())

    async def die(self) -> None:
        """The process is killed: nothing that is in its memory is written any more."""
        tasks = [self._running, *(each.task for each in self.clients if each.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in self.clients:
            each.judge()
            each.connected = False
            each.possible |= each.left_behind
        await self.begin()

    async def do(self, what: str, who: int, yes: bool, number: int) -> None:
        client = self.clients[who]
        if what == "open" and not client.busy:
            client.start(client.open(yes, keep=number > 0))
        elif what == "save" and not client.busy and client.connected:
            client.start(client.save(number))
        elif what == "leave" and not client.busy and client.connected:
            client.leave(yes)
        elif what == "give up" and client.task:
            client.task.cancel()
        elif what == "down":
            self.store.down = yes
        elif what == "unanswered":
            self.store.forgets_to_answer = yes
        elif what == "hang":
            self.hang(yes)
        elif what == "die" and yes and number == 0:
            await self.die()
        for _ in range(number):
            await asyncio.sleep(0)

    def hang(self, yes: bool) -> None:
        if self.store.hold is not None:
            self.store.hold.set()
        self.store.hold = asyncio.Event() if yes else None

    def everything_works(self) -> None:
        self.store.down = self.store.forgets_to_answer = False
        self.hang(False)

    async def calm_down(self) -> None:
        """All that was begun is done, and written."""
        self.everything_works()
        await asyncio.gather(*(each.task for each in self.clients if each.task), return_exceptions=True)
        for each in self.clients:
            each.judge()
        await until(lambda: not self.keeper._some.is_set(), every_s=0, what="all is written")

    async def check(self) -> None:
        await self.calm_down()
        for each in self.clients:
            held = self.store.held.get((KEY, each.name))
            assert (_frozen(held.subscriptions) if held else None) in each.possible, each.name
            lasting = held is not None and held.expires_us is None
            assert lasting == (each.connected and each.kept), each.name
        self._running.cancel()
        await asyncio.wait((self._running,))


def _opened(before: Subscriptions, clean: bool, keep: bool) -> Subscriptions:
    if not keep:
        return None
    return () if clean or before is None else before


def _frozen(subscriptions: dict[str, int] | None) -> Subscriptions:
    return None if subscriptions is None else tuple(sorted(subscriptions.items()))


deeds = st.tuples(
    st.sampled_from(["open"] * 4 + ["save"] * 3 + ["leave"] * 2 + ["give up", "down", "unanswered", "hang", "die"]),
    st.integers(0, CLIENTS - 1),
    st.booleans(),
    st.integers(0, 9),
)


@settings(max_examples=300)
@given(st.lists(deeds, max_size=40))
def test_whatever_happens_nothing_is_lost_that_was_committed(program: list[tuple[str, int, bool, int]]) -> None:
    async def play() -> None:
        world = World()
        await world.begin()
        for deed in program:
            await world.do(*deed)
        await world.check()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "_GATHER_S", 0)
        patch.setattr(sessions, "_RETRY_S", 0)
        patch.setattr(sessions.log, "warning", lambda *_, **__: None)
        asyncio.run(play())
