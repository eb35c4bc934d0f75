"""Gaps in our hearing that are no failed commit of the device's own lane: they open no alert either."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pulse_core.records import DeviceKey, partition_of
from support.house import House
from support.waiting import until

if TYPE_CHECKING:
    from pulse_core.lanes.lane import Lane


async def test_a_commit_that_hangs_and_then_succeeds_blames_no_device() -> None:
    house = House(lanes=1)
    await house.start()
    await house.send(house.message("dev-1"))
    house.database.hold = asyncio.Event()
    waiting = asyncio.ensure_future(house.intake.submit([house.message("dev-2")]))
    for _ in range(50):
        await asyncio.sleep(0)
    await house.pass_time(40)
    house.database.hold.set()
    await asyncio.wait_for(waiting, 10)
    await house.pass_time(1)
    await house.send(house.message("dev-3"))
    assert house.opened() == 0, "dev-1 may have talked to a closed door"
    await house.pass_time(31)
    await until(lambda: house.opened() == 3)
    await house.stop()


async def test_another_lanes_outage_shuts_everybodys_door_and_stops_everybodys_clock() -> None:
    house = House(lanes=2)
    await house.start()
    await house.send(house.message("dev-1"))
    mine = partition_of("tenant-a", "dev-1") % 2
    other: Lane = house.path.lanes[1 - mine]
    assert DeviceKey("tenant-a", "dev-1") in house.path.lanes[mine].states
    other._outage("its connection alone")
    assert (await house.send(house.message("dev-1")))[0].verdict.value == "retry later"
    await house.pass_time(40)
    assert house.opened() == 0
    other._answered(house.clock.now_us())
    await house.pass_time(29)
    assert house.opened() == 0
    await house.pass_time(2)
    await until(lambda: house.opened() == 1)
    await house.stop()
