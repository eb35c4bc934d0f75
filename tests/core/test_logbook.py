"""The connections of devices are written beside everything else: in batches, bounded, each with its end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.device_connections import ConnectionEvent, Ending
from pulse_core.intake import logbook
from pulse_core.intake.logbook import Logbook
from pulse_core.records import DeviceKey
from support.house import House
from support.memory import ManualClock, MemoryConnections
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = DeviceKey("tenant-a", "dev-1")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook, "_GATHER_S", 0.01)
    monkeypatch.setattr(logbook, "_RETRY_S", 0.01)


@asynccontextmanager
async def writing(book: Logbook) -> AsyncIterator[None]:
    task = asyncio.create_task(book.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_a_connection_is_written_twice_and_whoever_looks_on_is_told() -> None:
    store, clock, told = MemoryConnections(), ManualClock(), list[DeviceKey]()
    book = Logbook(store, clock, told.append)
    async with writing(book):
        end = book.begin(KEY, "mqtt", protocol="mqtts", address="192.0.2.1", client_id="x" * 1000)
        await until(lambda: told)
        (kept,) = store.kept.values()
        assert (kept.key, kept.source, kept.protocol, kept.address) == (KEY, "mqtt", "mqtts", "192.0.2.1")
        assert (len(kept.client_id), kept.ended_us, kept.ending) == (256, None, None)
        clock.advance(5)
        end(Ending.LOST)
        end(Ending.REVOKED)
        await until(lambda: len(told) == 2)
    (kept,) = store.kept.values()
    assert (kept.ended_us, kept.ending) == (clock.now_us(), Ending.LOST)


async def test_many_are_written_together() -> None:
    store = MemoryConnections()
    book = Logbook(store, ManualClock())
    async with writing(book):
        for _ in range(logbook.BATCH + 1):
            book.begin(KEY, "mqtt")
        await until(lambda: len(store.kept) == logbook.BATCH + 1)
    assert store.batches == [logbook.BATCH, 1]


async def test_while_the_database_is_away_a_bounded_number_waits_and_nothing_stays_open_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logbook, "WAITING", 3)
    store = MemoryConnections()
    book = Logbook(store, ManualClock())
    async with writing(book):
        end = book.begin(KEY, "mqtt", client_id="early")
        await until(lambda: store.kept)
        store.down = True
        end(Ending.LOST)
        for number in range(3):
            book.begin(KEY, "mqtt", client_id=f"later {number}")
        assert len(book._waiting) == 3
        store.down = False
        await until(lambda: len(store.kept) == 4)
    ended = {each.client_id: each.ending for each in store.kept.values()}
    assert ended == {"early": Ending.SERVER_STOPPED, "later 0": None, "later 1": None, "later 2": None}


async def test_a_process_that_stops_ends_its_connections_and_one_that_starts_those_of_a_dead_one() -> None:
    house = House()
    await house.start()
    house.intake.connected(KEY, client_id="ours")
    await house.stop()
    (kept,) = house.connections.kept.values()
    assert (kept.source, kept.ending) == ("test", Ending.SERVER_STOPPED)
    kept.ended_us = kept.ending = None
    await house.start()
    assert kept.ending is Ending.SERVER_STOPPED
    await house.stop()


async def test_many_refusals_of_one_device_for_one_reason_are_one_with_their_number() -> None:
    store, clock = MemoryConnections(), ManualClock()
    book = Logbook(store, clock)

    def refuse(detail: str, key: DeviceKey = KEY) -> None:
        book.note(key, "mqtt", ConnectionEvent.REFUSED, address="192.0.2.1", client_id="c", detail=detail)

    def noted() -> list[tuple[str, str, int]]:
        return [(each.key.device_id, each.detail, each.times) for each in store.kept.values()]

    async with writing(book):
        for _ in range(3):
            refuse("TOKEN_INVALID")
        await until(lambda: noted() == [("dev-1", "TOKEN_INVALID", 3)])
        (first,) = store.kept.values()
        assert (first.event, first.ended_us, first.ending) == (ConnectionEvent.REFUSED, first.connected_us, None)
        assert (first.address, first.client_id) == ("192.0.2.1", "c")
        refuse("TOKEN_INVALID")
        refuse("DEVICE_REVOKED")
        refuse("TOKEN_INVALID", DeviceKey("tenant-b", "dev-1"))
        await until(lambda: sum(times for _, _, times in noted()) == 6)
        assert noted() == [("dev-1", "TOKEN_INVALID", 4), ("dev-1", "DEVICE_REVOKED", 1), ("dev-1", "TOKEN_INVALID", 1)]
        clock.advance(logbook.TOGETHER_US / 1e6)
        refuse("TOKEN_INVALID")
        await until(lambda: len(store.kept) == 4)


async def test_wills_are_noted_one_by_one() -> None:
    store = MemoryConnections()
    book = Logbook(store, ManualClock())
    async with writing(book):
        for _ in range(2):
            book.note(KEY, "mqtt", ConnectionEvent.WILL, detail="telemetry: \0" + "x" * 1000)
        await until(lambda: len(store.kept) == 2)
    assert [(each.detail[:14], len(each.detail)) for each in store.kept.values()] == [("telemetry: \ufffdxx", 256)] * 2


async def test_a_flood_of_refusals_takes_bounded_room_and_drives_no_connection_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logbook, "WAITING", 20)
    monkeypatch.setattr(logbook, "WAITING_WITH_EVENTS", 10)
    monkeypatch.setattr(logbook, "REFUSED_LATELY", 5)
    store = MemoryConnections()
    store.down = True
    book = Logbook(store, ManualClock())
    async with writing(book):
        book.begin(KEY, "mqtt", client_id="early")
        for number in range(100):
            book.note(DeviceKey("tenant-a", f"dev-{number}"), "mqtt", ConnectionEvent.REFUSED, detail="TOKEN_INVALID")
        book.begin(KEY, "mqtt", client_id="late")
        assert (len(book._refused), len(book._waiting)) == (5, 11)
        store.down = False
        await until(lambda: len(store.kept) == 11)
    assert [each.client_id for each in store.kept.values() if each.event is None] == ["early", "late"]


async def test_nothing_is_noted_of_devices_that_do_not_exist() -> None:
    house = House()
    await house.start()
    for key in (DeviceKey("tenant-a", "nobody"), KEY, DeviceKey("tenant-z", "dev-1")):
        house.intake.connection_event(key, ConnectionEvent.REFUSED, protocol="mqtt", detail="UNREGISTERED_DEVICE")
    await house.stop()
    (kept,) = house.connections.kept.values()
    assert (kept.key, kept.source, kept.protocol, kept.ending) == (KEY, "test", "mqtt", None)
