"""An alert that somebody closed while what it tells of goes on: no other opens for that, whatever is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import Evaluator, Finding, Judgement, PluginConfig
from pulse_core.errors import Conflict, NotFound
from pulse_core.records import Route
from pulse_core.routing import route
from pulse_postgres.alert_requests import AlertRequests
from pulse_postgres.connections import TenantPool
from pulse_postgres.pool import open_pool
from support.batches import integrate, judged, lane_stores, register
from support.books import statement
from support.house import House
from support.memory import MemoryRoutes, a_device
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.api import Device, Listening, Reading
    from support.database import Database

TENANT = "tenant-a"


class Hot(Evaluator[int]):
    """Says with every reading whether it is too hot, as a rule would; remembers nothing of what it said."""

    name = "hot"
    summary = "Too hot."
    config_type = PluginConfig
    memory_type = int

    def observe(
        self, device: Device, memory: int | None, reading: Reading, listening: Listening, now_us: int
    ) -> Judgement:
        return Judgement(0, (Finding("HOT", active=float(reading.metrics["v"]) > 10, summary="hot"),))

    def wake(self, device: Device, memory: int, listening: Listening, now_us: int) -> Judgement:
        return Judgement(memory)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    register(database, f"{TENANT}/dev-1")
    integration_id = integrate(database)
    house = House()
    house.evaluators.append(Hot(PluginConfig()))
    both = frozenset({"OPEN", "CLOSED"})
    house.routes = MemoryRoutes(Route(TENANT, integration_id, integration_id, deliver_on=both))
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO integration_routes (tenant_id, route_id, integration_id, deliver_on)"
            " VALUES (%s, %s, %s, '{OPEN,CLOSED}')",
            (TENANT, integration_id, integration_id),
        )
    async with lane_stores(database) as stores:
        house.lane_stores = stores
        await house.start()
        yield house
        await house.stop()


@pytest.fixture
async def requests(database: Database) -> AsyncIterator[AlertRequests]:
    pool = await open_pool(database.dsn("pulse_web"), name="test", max_size=2)
    yield AlertRequests(TenantPool(pool, TENANT), route)
    await pool.close()


def alerts(database: Database, alert_type: str) -> list[str]:
    look = "SELECT status FROM alerts WHERE alert_type = %s ORDER BY opened_at, status"
    return [row[0] for row in judged(database, look, alert_type)]


async def close(requests: AlertRequests, database: Database, alert_type: str) -> None:
    look = "SELECT alert_id FROM alerts WHERE alert_type = %s AND status <> 'CLOSED'"
    ((alert_id,),) = judged(database, look, alert_type)
    await requests.close(TENANT, alert_id, actor="user:ada", note="known")


async def perhaps_restarted(house: House, *, restart: bool) -> None:
    if restart:
        await house.stop()
        await house.start()


async def silent(house: House) -> None:
    await house.pass_time(60)


async def says(house: House, value: float) -> None:
    await house.send(house.message(fields={"metrics": {"v": value}}))


@pytest.mark.parametrize("restart", [False, True])
async def test_silence_that_was_closed_opens_again_once_the_device_has_spoken(
    house: House, requests: AlertRequests, database: Database, restart: bool
) -> None:
    await says(house, 1)
    await silent(house)
    await until(lambda: alerts(database, "NO_HEARTBEAT") == ["OPEN"], what="the alert")
    await close(requests, database, "NO_HEARTBEAT")
    await perhaps_restarted(house, restart=restart)
    await silent(house)
    assert alerts(database, "NO_HEARTBEAT") == ["CLOSED"], "it is silent still"
    await says(house, 1)
    assert judged(database, "SELECT held FROM alerts") == [(False,)]
    await perhaps_restarted(house, restart=restart)
    await silent(house)
    await until(lambda: alerts(database, "NO_HEARTBEAT") == ["CLOSED", "OPEN"], what="the next alert")
    assert (await statement(database)).balanced


@pytest.mark.parametrize("restart", [False, True])
async def test_what_is_said_again_and_again_stays_closed_until_it_has_ended(
    house: House, requests: AlertRequests, database: Database, restart: bool
) -> None:
    await says(house, 11)
    await close(requests, database, "HOT")
    for _ in range(2):
        await perhaps_restarted(house, restart=restart)
        await says(house, 12)
        assert alerts(database, "HOT") == ["CLOSED"]
    await says(house, 1)
    await perhaps_restarted(house, restart=restart)
    assert alerts(database, "HOT") == ["CLOSED"]
    await says(house, 13)
    assert alerts(database, "HOT") == ["CLOSED", "OPEN"]


async def test_its_end_is_told_once_and_stands_with_who_and_why(
    house: House, requests: AlertRequests, database: Database
) -> None:
    await says(house, 11)
    await close(requests, database, "HOT")
    await says(house, 1)
    assert judged(database, "SELECT event FROM deliveries ORDER BY event DESC") == [("OPEN",), ("CLOSED",)]
    steps = judged(database, "SELECT event, actor, note FROM alert_changes ORDER BY event DESC")
    assert steps == [("OPEN", "", ""), ("CLOSED", "user:ada", "known")]
    ((actor, details),) = judged(database, "SELECT actor, details FROM audit_log WHERE action = 'alert.close'")
    assert (actor, details["note"], len(details["deliveries"])) == ("user:ada", "known", 1)
    assert (await statement(database)).balanced


async def test_what_is_closed_is_not_closed_again(house: House, requests: AlertRequests, database: Database) -> None:
    await says(house, 11)
    ((alert_id,),) = judged(database, "SELECT alert_id FROM alerts")
    await requests.acknowledge(TENANT, alert_id, actor="user:ada", note="looking")
    await requests.close(TENANT, alert_id, actor="user:ada")
    for again in (requests.close, requests.acknowledge):
        with pytest.raises(Conflict, match="closed already"):
            await again(TENANT, alert_id, actor="user:eve")
    with pytest.raises(NotFound):
        await requests.close("tenant-b", alert_id, actor="user:eve")
    notes: list[Any] = judged(database, "SELECT event, note FROM alert_changes WHERE actor <> '' ORDER BY event")
    assert notes == [("ACKNOWLEDGED", "looking"), ("CLOSED", "")]


async def test_a_revoked_device_holds_nothing_back(house: House, requests: AlertRequests, database: Database) -> None:
    await says(house, 11)
    await close(requests, database, "HOT")
    assert judged(database, "SELECT held FROM alerts") == [(True,)]
    house.registry.put(a_device("dev-1", revoked=True))
    await until(lambda: judged(database, "SELECT held FROM alerts") == [(False,)], what="the end of it")
