"""The books of the whole data path over PostgreSQL: redeliveries, restarts, devices that come back, alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.records import Route
from support.batches import integrate, judged, lane_stores, register
from support.books import line, statement
from support.house import House
from support.memory import MemoryRoutes
from support.waiting import until

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    from support.database import Database

DEVICES = [f"tenant-a/dev-{number}" for number in range(1, 6)]


@pytest.fixture
def integration_id(database: Database) -> uuid.UUID:
    register(database, *DEVICES)
    return integrate(database)


@pytest.fixture
async def house(database: Database, integration_id: uuid.UUID) -> AsyncIterator[House]:
    house = House()
    route = Route("tenant-a", integration_id, integration_id, deliver_on=frozenset({"OPEN", "CLOSED"}))
    house.routes = MemoryRoutes(route)
    async with lane_stores(database) as stores:
        house.lane_stores = stores
        await house.start()
        yield house
        await house.stop()


async def restarted(house: House) -> None:
    await house.stop()
    await house.start()


def said(house: House, seq: int, **changes: Any) -> Any:
    """A message with a time of its own, so that it is known again."""
    return house.message(fields={"ts": house.clock.now_us() // 1000 - seq, "seq": seq, "metrics": {"v": 1}}, **changes)


async def accepted(database: Database) -> int:
    """How many readings were accepted; the books must balance."""
    found = await statement(database)
    assert found.balanced, found
    return line(found, "readings").left["accepted"]


async def test_what_is_redelivered_is_accepted_once(house: House, database: Database) -> None:
    messages = [said(house, seq, device_id=f"dev-{seq % 5 + 1}") for seq in range(20)]
    await house.send(*messages, *messages[:7])
    await house.send(*messages[3:9])
    await restarted(house)
    await house.send(*messages, house.message("dev-1", fields={"metrics": {"v": 2}}))
    assert await accepted(database) == 21


async def test_a_device_that_is_registered_again_may_repeat_its_former_life(house: House, database: Database) -> None:
    """Its readings outlived it; its state, by which a redelivery is known without looking, did not."""
    messages = [said(house, seq) for seq in range(3)]
    await house.send(*messages)
    judged(database, "DELETE FROM devices WHERE device_id = 'dev-1' RETURNING 1")
    register(database, "tenant-a/dev-1")
    await restarted(house)
    await house.send(messages[1])
    await house.send(*messages)
    assert await accepted(database) == 3


async def test_an_alert_leaves_what_was_decided_and_what_was_promised(
    house: House, database: Database, integration_id: uuid.UUID
) -> None:
    await house.send(said(house, 0))
    await house.pass_time(60)
    await until(lambda: judged(database, "SELECT 1 FROM alert_changes WHERE event = 'OPEN'"), what="the alert")
    judged(database, "DELETE FROM integrations WHERE integration_id = %s RETURNING 1", integration_id)
    judged(database, "DELETE FROM alert_changes RETURNING 1")  # its deliveries went with the integration
    await house.send(said(house, 1))
    await until(lambda: judged(database, "SELECT 1 FROM alert_changes WHERE event = 'CLOSED'"), what="its end")
    assert await accepted(database) == 2
    ((decisions,),) = judged(database, "SELECT decisions FROM alert_changes")
    assert [(each["matched"], each["failed"]) for each in decisions] == [(False, "integration_deleted")]
