"""Integrations as a customer's program manages them: secrets go in and never come out, health is shown."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.secrets import SecretBox
from support.batches import judged
from support.told import a_delivery, an_attempt

if TYPE_CHECKING:
    from support.admin import Caller
    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "B" * 32
HOOK: dict[str, Any] = {
    "name": "on call",
    "config": {"url": "https://example.com/hook", "secret": SECRET, "headers": {"Authorization": "Bearer x1y2"}},
}


async def make(customer: Caller, **more: Any) -> dict[str, Any]:
    status, made, _ = await customer.post("/integrations", {**HOOK, **more})
    assert status == 201, made
    assert isinstance(made, dict)
    return made


def secrets_of(database: Database) -> Any:
    (row,) = judged(database, "SELECT secrets FROM integrations")
    return SecretBox(database.secret_key).open(row[0])


def fields(body: Any) -> list[str]:
    return [each["field"] for each in body["errors"]]


async def test_channel_types_say_what_an_integration_needs(customer: Caller) -> None:
    status, body, _ = await customer.get("/channel-types")
    assert status == 200
    types = {each["name"]: each for each in body["items"]}
    assert types["webhook"]["summary"]
    assert "url" in types["webhook"]["schema"]["properties"]


async def test_an_integration_is_made_found_changed_and_deleted(customer: Caller, database: Database) -> None:
    made = await make(customer)
    path = f"/integrations/{made['integration_id']}"
    assert made["config"]["secret"] == "********"
    assert made["health"] == {
        "last_success_at": None,
        "last_failure": None,
        "attempts_24h": 0,
        "failure_rate_24h": None,
        "queue": {"waiting": 0, "oldest_due_at": None},
        "breaker": {"state": "CLOSED"},
    }
    for same in (path, f"/integrations/webhook/{made['integration_id']}"):
        assert (await customer.get(same))[:2] == (200, made)
    for lists in ("/integrations", "/integrations?type=webhook", "/integrations/webhook?limit=5"):
        assert (await customer.get(lists))[:2] == (200, {"items": [made], "next": None})
    status, renamed, _ = await customer.patch(path, {"name": "night shift"})
    assert (status, renamed["name"], renamed["config"]) == (200, "night shift", made["config"])
    assert (await customer.delete(path))[0] == 204
    for call in (customer.get(path), customer.delete(path), customer.patch(path, {"name": "x"})):
        assert (await call)[0] == 404
    assert (await customer.get("/integrations"))[1]["items"] == []
    kept = judged(database, "SELECT type, name, enabled, config::text, secrets FROM integrations")
    assert kept == [("webhook", "night shift", False, "{}", None)]
    said = judged(database, "SELECT actor, action FROM audit_log WHERE action LIKE 'integration.%%' ORDER BY at")
    assert said == [
        ("token:customer_admin of tenant-a", f"integration.{deed}") for deed in ("create", "update", "delete")
    ]


async def test_secrets_are_write_only(customer: Caller, database: Database) -> None:
    path = f"/integrations/{(await make(customer))['integration_id']}"
    before = secrets_of(database)
    _, shown, _ = await customer.get(path)
    for config in ({}, shown["config"], {"url": "https://example.com/other"}, {"secret": "********"}):
        assert (await customer.patch(path, {"config": config}))[0] == 200
        assert secrets_of(database) == before, config
    status, body, _ = await customer.patch(path, {"config": {"secret": OTHER, "headers": {"X-Team": "night"}}})
    assert status == 200
    assert secrets_of(database) == {**before, "/secret": OTHER, "/headers/X-Team": "night"}
    _, body, _ = await customer.patch(path, {"config": {"headers": {"Authorization": None}}})
    assert secrets_of(database) == {"/secret": OTHER, "/headers/X-Team": "night"}
    assert body["config"]["url"] == "https://example.com/other"
    for each in (shown, body, (await customer.get("/integrations"))[1]):
        assert not [word for word in (SECRET, OTHER, "x1y2", "night") if word in json.dumps(each)]


async def test_a_mask_is_no_secret(customer: Caller, database: Database) -> None:
    """Whoever sends back what was shown, to another integration, must not store the mask."""
    path = f"/integrations/{(await make(customer))['integration_id']}"
    before = secrets_of(database)
    assert (await customer.post("/integrations", {**HOOK, "config": {**HOOK["config"], "secret": "********"}}))[
        0
    ] == 422
    masked = {**HOOK["config"], "headers": {"Authorization": "********"}}
    assert (await customer.post("/integrations", {**HOOK, "config": masked}))[0] == 422
    assert (await customer.patch(path, {"config": {"headers": {"X-New": "********"}}}))[0] == 422
    assert secrets_of(database) == before


async def test_what_is_wrong_is_told_by_field(customer: Caller) -> None:
    path = f"/integrations/{(await make(customer))['integration_id']}"
    for body, field in (
        ({"config": {"url": "nonsense"}}, "config.url"),
        ({"config": {"retries": 3}}, "config.retries"),
        ({"type": "snmp"}, "type"),
        ({"retry": {"every_s": 1}}, "retry.every_s"),
        ({"retry": {"waits_s": []}}, "retry.waits_s"),
        ({"retry": {"waits_s": [0.5]}}, "retry.waits_s.0"),
        ({"retry": {"waits_s": [5] * 21}}, "retry.waits_s"),
        ({"retry": {"give_up_s": 7 * 86400 + 1}}, "retry.give_up_s"),
        ({"retry": {"jitter": 0}}, "retry.jitter"),
        ({"name": ""}, "name"),
    ):
        status, answer, _ = await customer.patch(path, body)
        assert (status, fields(answer)) == (422, [field])
    for path in ("/integrations/pigeon", "/integrations?type=pigeon", "/integrations/not-an-id/test"):
        assert (await customer.post(path, HOOK))[0] == 404, path
    for path in ("/integrations/pigeon", "/integrations/Not A Type", "/integrations?type=pigeon"):
        assert (await customer.get(path))[0] == 404, path
    assert (await customer.get("/integrations?type=A%20B"))[0] == 422


async def test_an_id_under_another_type_is_not_there(customer: Caller) -> None:
    made = await make(customer)
    other = f"/integrations/email/{made['integration_id']}"
    for method, path in (("GET", other), ("PATCH", other), ("DELETE", other), ("POST", f"{other}/test")):
        assert (await customer.call(method, path, {} if method != "GET" else None))[0] == 404


async def test_an_integration_has_its_own_schedule_until_it_is_reset(customer: Caller, database: Database) -> None:
    wanted = {"waits_s": [1, 2.5], "every_s": 60, "give_up_s": 600}
    made = await make(customer, retry=wanted)
    assert made["retry"] == wanted
    path = f"/integrations/{made['integration_id']}"
    assert (await customer.patch(path, {"name": "same schedule"}))[1]["retry"] == wanted
    short = (await customer.patch(path, {"retry": {"give_up_s": 3600}}))[1]["retry"]
    assert (short["give_up_s"], short["waits_s"][:2], short["every_s"]) == (3600, [5, 30], 12 * 3600)
    assert (await customer.patch(path, {"retry": None}))[1]["retry"] is None
    assert judged(database, "SELECT retry FROM integrations") == [(None,)]


async def test_enabling_clears_the_reason(customer: Caller, database: Database) -> None:
    path = f"/integrations/{(await make(customer))['integration_id']}"
    judged(database, "UPDATE integrations SET enabled = false, disabled_reason = '410 Gone' RETURNING true")
    assert (await customer.get(path))[1]["disabled_reason"] == "410 Gone"
    body = (await customer.patch(path, {"enabled": True}))[1]
    assert (body["enabled"], body["disabled_reason"]) == (True, None)


async def test_health_tells_the_last_days_and_the_breaker(customer: Caller, database: Database) -> None:

    made = await make(customer)
    mine = uuid.UUID(made["integration_id"])
    good, bad = a_delivery(database, mine), a_delivery(database, mine, "RETRYING")
    an_attempt(database, good, 1, "TEMPORARY", detail="answered 503")
    an_attempt(database, good, 2)
    an_attempt(database, bad, 1, "TEMPORARY", detail="refused the connection")
    old = a_delivery(database, mine, "DEAD")
    an_attempt(database, old, 1, "PERMANENT", detail="long ago")
    judged(database, "UPDATE delivery_attempts SET started_at = now() - interval '25 h' WHERE delivery_id = %s"
           " RETURNING true", old)  # fmt: skip
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO breakers (tenant_id, integration_id, opened_at, probe_at, failures, last_error)"
            " VALUES ('tenant-a', %s, '2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z', 7, 'refused')",
            (mine,),
        )
    health = (await customer.get(f"/integrations/{mine}"))[1]["health"]
    assert health["last_success_at"]
    assert health["last_failure"]["detail"] == "refused the connection"
    assert (health["attempts_24h"], round(health["failure_rate_24h"], 3)) == (3, 0.667)
    assert health["queue"]["waiting"] == 1
    assert health["queue"]["oldest_due_at"]
    assert health["breaker"] == {
        "state": "OPEN",
        "since": "2026-01-01T00:00:00Z",
        "next_probe_at": "2026-01-01T00:01:00Z",
        "failures": 7,
        "last_error": "refused",
    }


@pytest.mark.parametrize("path", ["/integrations", "/integration-routes"])
async def test_lists_come_in_pages(customer: Caller, path: str) -> None:
    ids = sorted([(await make(customer))["integration_id"] for _ in range(3)])
    for each in ids:
        await customer.post("/integration-routes", {"integration_id": each})
    _, first, _ = await customer.get(f"{path}?limit=2")
    _, rest, _ = await customer.get(f"{path}?limit=2&cursor={first['next']}")
    assert sorted(each["integration_id"] for each in first["items"] + rest["items"]) == ids
    assert (len(first["items"]), rest["next"]) == (2, None)
