"""The ledger as a customer's program reads it, and what it asks for: replay, replay of many, cancel."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from pulse_postgres.delivery import requests
from support.batches import integrate, judged
from support.told import a_delivery, an_alert, an_attempt

if TYPE_CHECKING:
    import pytest

    from support.admin import Caller
    from support.database import Database


async def ids(customer: Caller, query: str = "") -> list[str]:
    status, body, _ = await customer.get(f"/deliveries{query}")
    assert status == 200, body
    return [each["delivery_id"] for each in body["items"]]


def aged(database: Database, delivery_id: uuid.UUID, hours: int) -> uuid.UUID:
    judged(database, "UPDATE deliveries SET created_at = now() - make_interval(hours => %s) WHERE delivery_id = %s"
           " RETURNING true", hours, delivery_id)  # fmt: skip
    return delivery_id


async def test_the_ledger_is_filtered_and_comes_newest_first_in_pages(customer: Caller, database: Database) -> None:
    one, two, alert = integrate(database), integrate(database), an_alert(database)
    newest = str(aged(database, a_delivery(database, one, "DEAD"), 1))
    middle = str(aged(database, a_delivery(database, two, "DEAD", alert_id=alert), 2))
    oldest = str(aged(database, a_delivery(database, one, "PENDING", cause="test"), 3))
    assert await ids(customer) == [newest, middle, oldest]
    for query, wanted in (
        ("status=DEAD", [newest, middle]),
        (f"integration_id={one}", [newest, oldest]),
        (f"alert_id={alert}", [middle]),
        ("cause=test", [oldest]),
        (f"status=DEAD&integration_id={two}", [middle]),
        (f"created_from={hours_ago(2.5)}", [newest, middle]),
        (f"created_before={hours_ago(2.5)}", [oldest]),
        (f"created_from={hours_ago(2.5)}&created_before={hours_ago(1.5)}", [middle]),
        (f"alert_id={uuid.uuid4()}", []),
    ):
        assert await ids(customer, f"?{query}") == wanted, query
    _, page, _ = await customer.get("/deliveries?limit=2")
    assert await ids(customer, f"?limit=2&cursor={page['next']}") == [oldest]
    _, lately, _ = await customer.get("/delivery-status?limit=2")
    assert lately == page


def hours_ago(hours: float) -> str:
    return f"{dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"


async def test_wrong_questions_are_told(customer: Caller) -> None:
    for query in ("status=ODD", "cause=magic", "alert_id=7", "created_from=noon", "limit=0", "cursor=x", "tenant_id=b"):
        assert (await customer.get(f"/deliveries?{query}"))[0] == 422, query
    for moment in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"):
        assert (await customer.get(f"/deliveries?created_from={moment}"))[0] in {200, 422}, moment
    assert (await customer.get("/deliveries/not-an-id"))[0] == 404


async def test_a_delivery_tells_every_attempt_and_what_comes_next(customer: Caller, database: Database) -> None:
    hook = integrate(database)
    delivery = a_delivery(database, hook, "RETRYING", attempts=1, last_error="answered 503")
    met = {"address": "203.0.113.7:443", "tls": "TLSv1.3", "detail": "answered 503", "receipt": "busy"}
    an_attempt(database, delivery, 1, "TEMPORARY", **met)
    path = f"/deliveries/{delivery}"
    status, body, _ = await customer.get(path)
    assert status == 200
    (attempt,) = body["attempts"]
    assert {**attempt, **met, "attempt": 1, "duration_ms": 12, "outcome": "TEMPORARY", "next_at": None} == attempt
    assert body["next"] == {"what": "retry", "at": body["due_at"]}
    assert (body["cause"], body["caused_by"], body["integration_name"]) == ("alert", None, "hook")
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO breakers (tenant_id, integration_id, opened_at, probe_at, failures)"
            " VALUES ('tenant-a', %s, '2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z', 5)",
            (hook,),
        )
    assert (await customer.get(path))[1]["next"] == {
        "what": "waits: its endpoint is not reachable",
        "since": "2026-01-01T00:00:00Z",
        "probe_at": "2026-01-01T00:01:00Z",
    }
    for state, wanted in (("SENDING", {"what": "an attempt is under way"}), ("DEAD", None)):
        judged(database, "UPDATE deliveries SET status = %s RETURNING true", state)
        assert (await customer.get(path))[1]["next"] == wanted


async def test_a_replay_is_a_new_delivery_of_the_same(customer: Caller, database: Database) -> None:
    alert, route = an_alert(database), uuid.uuid4()
    dead = a_delivery(database, integrate(database), "DEAD", alert_id=alert, route_id=route, event="CLOSED")
    status, made, _ = await customer.post(f"/deliveries/{dead}/replay")
    assert status == 201
    assert made["delivery_id"] != str(dead)
    assert (made["cause"], made["caused_by"], made["status"]) == ("replay", str(dead), "PENDING")
    assert (made["alert_id"], made["route_id"], made["event"]) == (str(alert), str(route), "CLOSED")
    ((told,),) = judged(database, "SELECT notification FROM deliveries WHERE cause = 'replay'")
    assert told == {"device_id": "dev-1", "summary": "silent", "delivery_id": made["delivery_id"]}
    said = judged(database, "SELECT actor, resource, details FROM audit_log WHERE action = 'delivery.replay'")
    assert said == [
        ("token:customer_admin of tenant-a", f"tenant-a/{dead}", {"made": made["delivery_id"]}),
    ]
    assert (await customer.post(f"/deliveries/{dead}/replay"))[0] == 409, "the first is not finished"
    judged(database, "UPDATE deliveries SET status = 'DEAD' RETURNING true")
    assert (await customer.post(f"/deliveries/{dead}/replay"))[0] == 201


async def test_what_cannot_be_replayed(customer: Caller, database: Database) -> None:
    hook = integrate(database)
    for state in ("PENDING", "SENDING", "RETRYING"):
        unfinished = a_delivery(database, hook, state)
        status, body, _ = await customer.post(f"/deliveries/{unfinished}/replay")
        assert (status, state in body["detail"]) == (409, True)
    a_test = a_delivery(database, hook, "DEAD", cause="test")
    assert (await customer.post(f"/deliveries/{a_test}/replay"))[0] == 409
    dead = a_delivery(database, hook, "DEAD")
    judged(database, "UPDATE integrations SET enabled = false RETURNING true")
    assert "disabled" in (await customer.post(f"/deliveries/{dead}/replay"))[1]["detail"]
    await customer.delete(f"/integrations/{hook}")
    assert "deleted" in (await customer.post(f"/deliveries/{dead}/replay"))[1]["detail"]
    assert (await customer.post(f"/deliveries/{uuid.uuid4()}/replay"))[0] == 404
    assert judged(database, "SELECT count(*) FROM deliveries WHERE cause = 'replay'") == [(0,)]


async def test_at_once_a_delivery_is_replayed_once(customer: Caller, database: Database) -> None:
    dead = a_delivery(database, integrate(database), "DEAD")
    answers = await asyncio.gather(*(customer.post(f"/deliveries/{dead}/replay") for _ in range(5)))
    assert sorted(status for status, _, _ in answers) == [201, 409, 409, 409, 409]


async def test_many_are_replayed_after_they_were_counted(customer: Caller, database: Database) -> None:
    one, two, gone = integrate(database), integrate(database), integrate(database)
    dead = [a_delivery(database, one, "DEAD") for _ in range(3)]
    a_delivery(database, two, "DEAD")
    for state, more in (("DELIVERED", {}), ("PENDING", {}), ("DEAD", {"cause": "test"})):
        a_delivery(database, one, state, **more)
    again = a_delivery(database, one, "DEAD")
    assert (await customer.post(f"/deliveries/{again}/replay"))[0] == 201
    a_delivery(database, gone, "DEAD")
    await customer.delete(f"/integrations/{gone}")

    counted = await customer.post("/deliveries/replay", {"integration_id": str(one)})
    assert counted[:2] == (200, {"count": 3, "dry_run": True})
    assert (await customer.post("/deliveries/replay", {}))[1]["count"] == 4
    run: dict[str, Any] = {"integration_id": str(one), "dry_run": False}
    status, body, _ = await customer.post("/deliveries/replay", run)
    assert (status, body["errors"][0]["field"]) == (422, "count")
    status, body, _ = await customer.post("/deliveries/replay", {**run, "count": 2})
    assert status == 409
    assert "2" in body["detail"]
    assert "3" in body["detail"]
    assert judged(database, "SELECT count(*) FROM deliveries WHERE cause = 'replay'") == [(1,)]
    done = await customer.post("/deliveries/replay", {**run, "count": 3})
    first = done[1].pop("first")
    assert done[:2] == (200, {"count": 3, "dry_run": False})
    assert (await customer.get(f"/deliveries/{first}/batch"))[1]["count"] == 3
    made = judged(database, "SELECT caused_by, notification ->> 'delivery_id' = delivery_id::text FROM deliveries"
                  " WHERE cause = 'replay' AND caused_by = ANY(%s)", dead)  # fmt: skip
    assert sorted(made) == sorted((each, True) for each in dead)
    assert (await customer.post("/deliveries/replay", {**run, "count": 0}))[1]["count"] == 0, "each only once"
    said = judged(database, "SELECT details FROM audit_log WHERE action = 'delivery.replay-all' ORDER BY at LIMIT 1")
    assert said == [({"status": "DEAD", "integration_id": str(one), "count": 3},)]


async def test_more_than_the_most_is_not_replayed(
    customer: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = integrate(database)
    for _ in range(3):
        a_delivery(database, hook, "CANCELLED")
    monkeypatch.setattr(requests, "REPLAYED_AT_MOST", 2)
    body = {"status": "CANCELLED", "dry_run": False, "count": 3}
    assert (await customer.post("/deliveries/replay", body))[0] == 409
    bad: list[dict[str, Any]] = [
        {"status": "PENDING"},
        {"delivery_ids": []},
        {"limit": 5},
        {"dry_run": "no"},
        {"count": -1},
    ]
    for wrong in bad:
        assert (await customer.post("/deliveries/replay", wrong))[0] == 422, wrong


async def test_what_waits_can_be_cancelled_and_what_waited_behind_it_may_go(
    customer: Caller, database: Database
) -> None:
    hook, alert = integrate(database), an_alert(database)
    first = a_delivery(database, hook, "RETRYING", alert_id=alert)
    behind = a_delivery(database, hook, "PENDING", alert_id=alert, event="CLOSED")
    elsewhere = a_delivery(database, hook, "PENDING", alert_id=an_alert(database), event="CLOSED")
    judged(database, "UPDATE deliveries SET due_at = now() + interval '1 hour' RETURNING true")
    status, body, _ = await customer.post(f"/deliveries/{first}/cancel")
    assert (status, body["status"], body["next"]) == (200, "CANCELLED", None)
    assert body["last_error"] == "cancelled by token:customer_admin of tenant-a"
    due = dict(judged(database, "SELECT delivery_id, due_at <= now() FROM deliveries WHERE status = 'PENDING'"))
    assert due == {behind: True, elsewhere: False}
    assert judged(database, "SELECT action, resource FROM audit_log WHERE action LIKE 'delivery.%%'") == [
        ("delivery.cancel", f"tenant-a/{first}")
    ]
    for state in ("SENDING", "DELIVERED", "DEAD"):
        other = a_delivery(database, hook, state)
        assert (await customer.post(f"/deliveries/{other}/cancel"))[0] == 409
    assert (await customer.post(f"/deliveries/{first}/cancel"))[0] == 409
    assert (await customer.post(f"/deliveries/{uuid.uuid4()}/cancel"))[0] == 404
