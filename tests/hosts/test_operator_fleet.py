"""What operators see across tenants: counts, devices, alerts, deliveries, integrations, refusals, plugins."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from support.admin import Admin, Caller, admin_api
from support.batches import integrate, judged
from support.books import fill
from support.told import a_delivery, an_attempt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    """Two tenants whose devices said something, and whose alerts opened and closed."""
    await fill(database, "tenant-a/dev-1", "tenant-a/other", "tenant-b/dev-1")
    async with admin_api(database, tmp_path) as found:
        yield found


@pytest.fixture
async def operator(admin: Admin) -> Caller:
    return await admin.operator()


def reopen(database: Database) -> None:
    """Have the alert of tenant-a's dev-1 open."""
    query = "UPDATE alerts SET status = 'OPEN', closed_at = NULL WHERE tenant_id = 'tenant-a' AND device_id = 'dev-1'"
    judged(database, f"{query} RETURNING true")


async def ids(caller: Caller, path: str) -> list[str]:
    status, body, _ = await caller.get(path)
    assert status == 200, body
    return [f"{each['tenant_id']}/{each['device_id']}" for each in body["items"]]


async def test_the_dashboard_counts_across_tenants(operator: Caller, database: Database) -> None:
    reopen(database)
    judged(database, "INSERT INTO tenants (tenant_id, status) VALUES ('quiet', 'SUSPENDED') RETURNING true")
    judged(
        database,
        "INSERT INTO quarantine_counts VALUES ('', now(), 'BAD_TOPIC_FORMAT', 0, 3),"
        " ('tenant-a', now(), 'TOKEN_INVALID', 0, 2), ('tenant-a', now() - interval '1 minute', 'TOKEN_INVALID', 1, 2),"
        " ('tenant-b', now() - interval '16 minutes', 'TOKEN_INVALID', 0, 99) RETURNING true",
    )
    status, body, _ = await operator.get("/dashboard")
    assert status == 200
    for each in ("intake", "history", "platform", "health"):
        assert body.pop(each)
    assert body == {
        "tenants": {"ACTIVE": 2, "SUSPENDED": 1},
        "devices": {"ONLINE": 3},
        "alerts": {"MAJOR": 1},
        "deliveries": {"PENDING": 12},
        "rejected": {"BAD_TOPIC_FORMAT": 3, "TOKEN_INVALID": 4},
        "rejected_over_min": 15,
    }


async def test_devices_by_filter_and_page_by_page(operator: Caller) -> None:
    assert await ids(operator, "/devices") == ["tenant-a/dev-1", "tenant-a/other", "tenant-b/dev-1"]
    assert await ids(operator, "/devices?tenant_id=tenant-b") == ["tenant-b/dev-1"]
    assert await ids(operator, "/devices?prefix=dev-") == ["tenant-a/dev-1", "tenant-b/dev-1"]
    assert await ids(operator, "/devices?site_id=nowhere") == []
    assert await ids(operator, "/devices?status=STALE") == []
    assert await ids(operator, "/tenants/tenant-a/devices?search=OTH") == ["tenant-a/other"]
    _, body, _ = await operator.get("/devices?limit=2")
    assert await ids(operator, f"/devices?limit=2&cursor={body['next']}") == ["tenant-b/dev-1"]
    assert (await operator.get("/devices?status=BROKEN"))[0] == 422


async def test_a_tenant_or_device_that_does_not_exist_is_404(operator: Caller) -> None:
    for path in ("nobody/devices", "nobody/devices/dev-1", "tenant-b/devices/other", "%20/devices", "a%00/devices/d"):
        status, body, _ = await operator.get(f"/tenants/{path}")
        assert status in {404, 422}, path
        assert "items" not in body


async def test_one_device_with_what_it_said_last_and_its_open_alerts(operator: Caller, database: Database) -> None:
    status, body, _ = await operator.get("/tenants/tenant-a/devices/dev-1")
    assert (status, body["status"], body["open_alerts"]) == (200, "ONLINE", [])
    told = {"value": 1.5, "ts": body["telemetry"][0]["ts"]}
    assert body["latest"] == {"t": {**told, "unit": "", "low": None, "high": None, "out_of_range": False}}
    times = [each["ts"] for each in body["telemetry"]]
    assert (len(times), times) == (6, sorted(times, reverse=True))
    reopen(database)
    _, body, _ = await operator.get("/tenants/tenant-a/devices/dev-1")
    assert [(each["device_id"], each["status"]) for each in body["open_alerts"]] == [("dev-1", "OPEN")]
    assert (await operator.get("/tenants/tenant-b/devices/dev-1"))[1]["open_alerts"] == []


async def test_alerts_and_deliveries_of_all_or_of_one_tenant(operator: Caller) -> None:
    assert set(await ids(operator, "/alerts")) == {"tenant-a/dev-1", "tenant-a/other", "tenant-b/dev-1"}
    assert await ids(operator, "/alerts?tenant_id=tenant-b&status=CLOSED") == ["tenant-b/dev-1"]
    assert await ids(operator, "/alerts?status=OPEN") == []
    assert len(await ids(operator, "/deliveries")) == 12
    assert set(await ids(operator, "/deliveries?tenant_id=tenant-b&status=PENDING")) == {"tenant-b/dev-1"}


async def test_integrations_without_secrets_and_with_their_health(
    admin: Admin, operator: Caller, database: Database
) -> None:
    judged(database, "DELETE FROM integrations RETURNING true")
    wanted = {"name": "w", "config": {"url": "https://x.example/", "secret": SECRET}}
    status, made, _ = await (await admin.customer("tenant-b")).post("/integrations/webhook", wanted)
    assert status == 201, made
    silent = integrate(database, "tenant-a")
    theirs = uuid.UUID(made["integration_id"])
    an_attempt(database, a_delivery(database, theirs, "RETRYING", "tenant-b"), outcome="TEMPORARY", detail="refused")
    judged(database, "INSERT INTO breakers VALUES ('tenant-b', %s, now(), now(), 5, 'refused') RETURNING true", theirs)
    _, body, _ = await operator.get("/integrations")
    assert SECRET not in json.dumps(body)
    first, second = body["items"]
    assert (first["integration_id"], first["health"]["breaker"]) == (str(silent), {"state": "CLOSED"})
    assert (second["config"]["secret"], second["health"]["breaker"]["state"]) == ("********", "OPEN")
    assert (second["health"]["queue"]["waiting"], second["health"]["last_failure"]["detail"]) == (1, "refused")
    assert len((await operator.get("/integrations?tenant_id=tenant-a"))[1]["items"]) == 1
    assert (await operator.get("/integrations?type=email"))[1]["items"] == []


async def test_what_was_refused_kept_and_counted(operator: Caller, database: Database) -> None:
    judged(
        database,
        "INSERT INTO quarantine (tenant_id, reject_id, received_at, reason, topic, payload, raw)"
        " VALUES ('tenant-a', gen_random_uuid(), now(), 'TOKEN_INVALID', 't', '{\"a\": 1}', 'raw'),"
        " ('', gen_random_uuid(), now() - interval '1 s', 'MALFORMED_JSON', 't', NULL, NULL) RETURNING true",
    )
    judged(database, "INSERT INTO quarantine_counts VALUES ('tenant-a', now(), 'TOKEN_INVALID', 0, 2) RETURNING true")
    _, body, _ = await operator.get("/quarantine")
    assert [(each["tenant_id"], each["payload"], each["raw"]) for each in body["items"]] == [
        ("tenant-a", {"a": 1}, "cmF3"),
        ("", None, None),
    ]
    assert len((await operator.get("/quarantine?reason=MALFORMED_JSON"))[1]["items"]) == 1
    (counted,) = (await operator.get("/quarantine/counts?tenant_id=tenant-a"))[1]["items"]
    assert (counted["reason"], counted["rejected"]) == ("TOKEN_INVALID", 2)
    assert (await operator.get("/quarantine?reason=BORED"))[0] == 422


async def test_plugins_with_their_configuration_masked(operator: Caller) -> None:
    items: list[dict[str, Any]] = (await operator.get("/plugins"))[1]["items"]
    found = {each["name"]: each for each in items}
    mqtt = found["mqtt"]
    assert (mqtt["enabled"], mqtt["status"], mqtt["contributes"]) == (True, "enabled", ["ingester mqtt"])
    assert mqtt["config"]["mqtt"]["port"] == 1883
    assert mqtt["version"]
