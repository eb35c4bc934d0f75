"""Acknowledging an alert: who is told, once, in one transaction, whatever else happens to it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import psycopg

from support.batches import integrate, judged
from support.told import an_alert

if TYPE_CHECKING:
    from support.admin import Caller
    from support.database import Database


def a_route(database: Database, integration_id: uuid.UUID, events: list[str], **more: Any) -> uuid.UUID:
    route_id = uuid.uuid4()
    row = {
        "tenant_id": "tenant-a",
        "route_id": route_id,
        "integration_id": integration_id,
        "deliver_on": events,
        **more,
    }
    names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    with database.superuser() as hand:
        hand.execute(f"INSERT INTO integration_routes ({names}) VALUES ({values})".encode(), row)
    return route_id


def told(database: Database) -> list[Any]:
    return judged(
        database,
        "SELECT event, cause, status, route_id, notification ->> 'status', notification ->> 'event',"
        " notification ->> 'delivery_id' = delivery_id::text FROM deliveries",
    )


async def test_those_are_told_whose_route_says_so(customer: Caller, database: Database) -> None:
    integration = integrate(database)
    wanted = a_route(database, integration, ["OPEN", "ACKNOWLEDGED"])
    other = a_route(database, integration, ["OPEN"], priority=200)
    alert = an_alert(database, status="OPEN")
    status, body, _ = await customer.post(f"/alerts/{alert}/acknowledge")
    assert (status, body["status"]) == (200, "ACKNOWLEDGED")
    assert body["acknowledged_at"] is not None
    assert told(database) == [("ACKNOWLEDGED", "alert", "PENDING", wanted, "ACKNOWLEDGED", "ACKNOWLEDGED", True)]
    ((event, decisions),) = judged(database, "SELECT event, decisions FROM alert_changes")
    assert event == "ACKNOWLEDGED"
    assert [(each["route_id"], each["matched"], each["failed"]) for each in decisions] == [
        (str(wanted), True, None),
        (str(other), False, "deliver_on"),
    ]
    _, trace, _ = await customer.get(f"/alerts/{alert}/trace")
    (change,) = trace["changes"]
    assert [len(each["deliveries"]) for each in change["routes"]] == [1, 0]
    ((action, actor),) = judged(database, "SELECT action, actor FROM audit_log WHERE action = 'alert.acknowledge'")
    assert (action, actor.split(":")[0]) == ("alert.acknowledge", "token")


async def test_again_changes_nothing(customer: Caller, database: Database) -> None:
    a_route(database, integrate(database), ["ACKNOWLEDGED"])
    alert = an_alert(database, status="OPEN")
    answers = await asyncio.gather(*(customer.post(f"/alerts/{alert}/acknowledge") for _ in range(8)))
    assert {answer[0] for answer in answers} == {200}
    assert len({answer[1]["acknowledged_at"] for answer in answers}) == 1
    assert len(told(database)) == 1


async def test_what_is_closed_is_not_acknowledged(customer: Caller, database: Database) -> None:
    a_route(database, integrate(database), ["ACKNOWLEDGED"])
    alert = an_alert(database)
    status, body, _ = await customer.post(f"/alerts/{alert}/acknowledge")
    assert (status, body["detail"]) == (409, "the alert is closed already")
    assert told(database) == []


async def test_a_disabled_integration_is_not_told_and_the_trace_says_so(customer: Caller, database: Database) -> None:
    integration = integrate(database)
    a_route(database, integration, ["ACKNOWLEDGED"])
    judged(database, "UPDATE integrations SET enabled = false RETURNING true")
    alert = an_alert(database, status="OPEN")
    assert (await customer.post(f"/alerts/{alert}/acknowledge"))[0] == 200
    assert told(database) == []
    _, trace, _ = await customer.get(f"/alerts/{alert}/trace")
    assert trace["changes"][0]["routes"][0]["failed"] == "integration_enabled"


async def test_nothing_happens_by_halves(customer: Caller, database: Database) -> None:
    """A delivery that cannot be written takes the acknowledgement with it."""
    a_route(database, integrate(database), ["ACKNOWLEDGED"])
    alert = an_alert(database, status="OPEN")
    with psycopg.connect(database.url, autocommit=True) as hand:
        hand.execute("ALTER TABLE deliveries ADD CONSTRAINT none CHECK (event <> 'ACKNOWLEDGED')")
    assert (await customer.post(f"/alerts/{alert}/acknowledge"))[0] >= 400
    assert judged(database, "SELECT status, acknowledged_at FROM alerts") == [("OPEN", None)]
    assert judged(database, "SELECT 1 FROM alert_changes") == []
