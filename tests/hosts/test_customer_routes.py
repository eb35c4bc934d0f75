"""Routes as a customer's program manages them, and what deleting an integration does to them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from support.batches import judged
from support.told import a_delivery, an_alert

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

HOOK = {"name": "n", "config": {"url": "https://example.com/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
NOBODY = "00000000-0000-4000-8000-000000000000"


async def hook(customer: Caller) -> str:
    return str((await customer.post("/integrations", HOOK))[1]["integration_id"])


async def route(customer: Caller, integration_id: str, **more: Any) -> dict[str, Any]:
    status, made, _ = await customer.post("/integration-routes", {"integration_id": integration_id, **more})
    assert status == 201, made
    assert isinstance(made, dict)
    return made


async def test_a_route_is_made_found_changed_and_deleted(customer: Caller) -> None:
    first, second = await hook(customer), await hook(customer)
    made = await route(customer, first, severities=["CRITICAL", 4], name="worst", fallback_integration_id=second)
    assert (made["severities"], made["fallback_integration_id"], made["fallback_after_s"]) == ([4, 5], second, 600)
    path = f"/integration-routes/{made['route_id']}"
    assert (await customer.get(path))[:2] == (200, made)
    changes = {"min_severity": "WARNING", "fallback_after_s": 0, "deliver_on": ["CLOSED", "OPEN"]}
    status, changed, _ = await customer.patch(path, changes)
    assert status == 200
    assert changed == {**made, **changes, "min_severity": 3, "revision": 2}
    _, changed, _ = await customer.patch(path, {"fallback_integration_id": None})
    assert (changed["fallback_integration_id"], changed["name"]) == (None, "worst")
    assert (await customer.delete(path))[0] == 204
    for call in (customer.get(path), customer.patch(path, {}), customer.delete(path)):
        assert (await call)[0] == 404


async def test_what_is_wrong_is_told(customer: Caller) -> None:
    mine = await hook(customer)
    path = f"/integration-routes/{(await route(customer, mine))['route_id']}"
    for body, field in (
        ({"fallback_integration_id": mine}, "fallback_integration_id"),
        ({"fallback_after_s": 86401}, "fallback_after_s"),
        ({"fallback_after_s": -1}, "fallback_after_s"),
        ({"tenant_id": "tenant-b"}, "tenant_id"),
        ({"route_id": NOBODY}, "route_id"),
        ({"deliver_on": []}, "deliver_on"),
        ({"name": None}, "name"),
    ):
        for call in (customer.patch(path, body), customer.post("/integration-routes", {"integration_id": mine} | body)):
            status, answer, _ = await call
            assert (status, [each["field"] for each in answer["errors"]]) == (422, [field])
    for body in ({"integration_id": NOBODY}, {"integration_id": mine, "fallback_integration_id": NOBODY}):
        assert (await customer.post("/integration-routes", body))[0] == 404
        assert (await customer.patch(path, body))[0] == 404


async def test_a_deleted_integration_is_gone_for_people_and_stays_in_the_ledger(
    customer: Caller, database: Database
) -> None:
    gone, kept = await hook(customer), await hook(customer)
    await route(customer, gone)
    other = await route(customer, kept, fallback_integration_id=gone)
    sent = a_delivery(database, uuid.UUID(gone), alert_id=an_alert(database))
    waiting = [a_delivery(database, uuid.UUID(gone), status) for status in ("PENDING", "RETRYING")]
    under_way = a_delivery(database, uuid.UUID(gone), "SENDING")
    elsewhere = a_delivery(database, uuid.UUID(kept), "PENDING")
    assert (await customer.delete(f"/integrations/{gone}"))[0] == 204

    (left,) = (await customer.get("/integration-routes"))[1]["items"]
    assert (left["route_id"], left["fallback_integration_id"]) == (other["route_id"], None)
    for body in ({"integration_id": gone}, {"integration_id": kept, "fallback_integration_id": gone}):
        assert (await customer.post("/integration-routes", body))[0] == 404
    ledger = {each["delivery_id"]: each for each in (await customer.get("/deliveries"))[1]["items"]}
    for delivery_id in waiting:
        cancelled = ledger[str(delivery_id)]
        assert (cancelled["status"], cancelled["last_error"]) == ("CANCELLED", "the integration was deleted")
        assert cancelled["finished_at"]
    assert [ledger[str(each)]["status"] for each in (sent, under_way, elsewhere)] == ["DELIVERED", "SENDING", "PENDING"]
    assert (ledger[str(sent)]["integration_name"], ledger[str(sent)]["integration_type"]) == ("n", "webhook")
    assert judged(database, "SELECT deleted_at IS NOT NULL, secrets FROM integrations WHERE NOT enabled") == [
        (True, None)
    ]


async def test_the_admin_api_takes_schedules_and_fallbacks(admin: Admin) -> None:
    ids = []
    for retry in (None, {"give_up_s": 60, "every_s": 60, "waits_s": [1]}):
        wanted = {"tenant_id": "tenant-a", "type": "webhook", **HOOK, "retry": retry}
        status, made, _ = await admin.post("/integrations", wanted)
        assert (status, made["retry"]) == (201, retry)
        ids.append(made["integration_id"])
    body = {"tenant_id": "tenant-a", "integration_id": ids[0], "fallback_integration_id": ids[1], "fallback_after_s": 9}
    status, made, _ = await admin.post("/integration-routes", body)
    assert (status, made["fallback_integration_id"], made["fallback_after_s"]) == (201, ids[1], 9)
