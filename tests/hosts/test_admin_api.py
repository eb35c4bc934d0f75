"""The admin API over a real database: provisioning, integrations and routes, lists, and every way to be wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_server.web import MAX_BODY_BYTES, create_app
from pulse_server.web.services import Services
from support.admin import KEY, Admin, admin_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path) as found:
        yield found


def fields(body: Any) -> list[str]:
    return [each["field"] for each in body["errors"]]


async def test_a_device_is_registered_listed_and_given_a_code(admin: Admin) -> None:
    await admin.tenant()
    status, made, _ = await admin.post(
        "/devices",
        {
            "tenant_id": "tenant-a",
            "device_id": "dev-1",
            "site_id": "site-1",
            "name": "Pümp 1",
            "labels": {"floor": "2"},
            "stale_after_s": 60,
        },
    )
    assert status == 201
    assert (made["status"], made["activated"], made["last_seen_at"]) == ("UNKNOWN", False, None)
    assert (made["name"], made["labels"], made["stale_after_s"]) == ("Pümp 1", {"floor": "2"}, 60)
    assert made["created_at"].endswith("Z")
    status, listed, _ = await admin.get("/devices?tenant_id=tenant-a&status=UNKNOWN")
    assert (status, [each["device_id"] for each in listed["items"]], listed["next"]) == (200, ["dev-1"], None)
    status, code, _ = await admin.post("/devices/tenant-a/dev-1/activate-code")
    assert status == 201
    assert (code["tenant_id"], code["device_id"]) == ("tenant-a", "dev-1")
    assert len(code["code"]) >= 8
    assert (await admin.post("/devices/dev-1/activate-code"))[0] == 201
    assert (await admin.get("/devices/tenant-a/dev-1"))[1]["site_id"] == "site-1"


async def test_a_bare_id_that_two_tenants_use_is_ambiguous(admin: Admin) -> None:
    for tenant in ("tenant-a", "tenant-b"):
        await admin.tenant(tenant)
        await admin.device(tenant_id=tenant)
    assert (await admin.post("/devices/dev-1/activate-code"))[0] == 409
    assert (await admin.post("/devices/nobody/activate-code"))[0] == 404
    assert (await admin.post("/devices/tenant-b/dev-1/activate-code"))[0] == 201


async def test_what_exists_already_is_a_conflict_and_what_is_missing_is_not_found(admin: Admin) -> None:
    await admin.tenant()
    await admin.device()
    assert (await admin.post("/tenants", {"tenant_id": "tenant-a"}))[0] == 409
    twice = {"tenant_id": "tenant-a", "device_id": "dev-1", "site_id": "s"}
    assert (await admin.post("/devices", twice))[0] == 409
    assert (await admin.post("/devices", {**twice, "tenant_id": "nobody"}))[0] == 404
    for path in ("activate-code", "revoke", "rotate-token"):
        assert (await admin.post(f"/devices/tenant-a/nobody/{path}"))[0] == 404
    assert (await admin.post("/devices/tenant-a/dev-1/rotate-token"))[0] == 409, "it was never activated"
    assert (await admin.get("/devices/tenant-a/nobody/telemetry"))[0] == 404


async def test_revoking_is_final_and_may_be_repeated(admin: Admin) -> None:
    await admin.tenant()
    await admin.device()
    for _ in range(2):
        status, body, _ = await admin.post("/devices/tenant-a/dev-1/revoke")
        assert (status, body["status"]) == (200, "REVOKED")
    assert (await admin.post("/devices/tenant-a/dev-1/activate-code"))[0] == 409
    assert (await admin.post("/devices/tenant-a/dev-1/rotate-token", {"grace_s": 5}))[0] == 409


async def test_an_integration_is_checked_by_its_channel_and_never_shows_its_secrets(
    admin: Admin, database: Database
) -> None:
    await admin.tenant()
    wanted = {
        "tenant_id": "tenant-a",
        "type": "webhook",
        "name": "on call",
        "config": {"url": "https://example.com/hook", "secret": SECRET, "headers": {"Authorization": "Bearer x1y2"}},
    }
    status, made, _ = await admin.post("/integrations", wanted)
    assert status == 201, made
    assert made["config"]["secret"] == "********"
    _, listed, _ = await admin.get("/integrations?tenant_id=tenant-a&type=webhook")
    assert [each["integration_id"] for each in listed["items"]] == [made["integration_id"]]
    for body in (made, listed):
        assert SECRET not in json.dumps(body)
        assert "x1y2" not in json.dumps(body)
    with database.superuser() as connection:
        (row,) = connection.execute("SELECT config::text, encode(secrets, 'escape') FROM integrations").fetchall()
    assert SECRET not in str(row)


async def test_a_wrong_integration_is_told_by_field(admin: Admin) -> None:
    await admin.tenant()
    base = {"tenant_id": "tenant-a", "type": "webhook", "name": "n"}
    for config, field in (
        ({"secret": SECRET}, "config.url"),
        ({"url": "nonsense", "secret": SECRET}, "config.url"),
        ({"url": "https://example.com/", "secret": "hunter2-hunter2"}, "config.secret"),
        ({"url": "https://example.com/", "secret": SECRET, "retries": 3}, "config.retries"),
    ):
        status, body, _ = await admin.post("/integrations", {**base, "config": config})
        assert (status, fields(body)) == (422, [field])
        assert "hunter2" not in json.dumps(body)
    status, body, _ = await admin.post("/integrations", {**base, "type": "pigeon"})
    assert (status, fields(body)) == (422, ["type"])


async def test_routes_take_severities_by_name_or_number(admin: Admin) -> None:
    await admin.tenant()
    config = {"url": "https://example.com/", "secret": SECRET}
    wanted = {"tenant_id": "tenant-a", "type": "webhook", "name": "n", "config": config}
    _, integration, _ = await admin.post("/integrations", wanted)
    route = {"tenant_id": "tenant-a", "integration_id": integration["integration_id"]}
    status, made, _ = await admin.post(
        "/integration-routes", {**route, "severities": ["critical", 4], "min_severity": "WARNING"}
    )
    assert (status, made["severities"], made["min_severity"], made["deliver_on"]) == (201, [4, 5], 3, ["OPEN"])
    _, listed, _ = await admin.get("/integration-routes?tenant_id=tenant-a")
    assert listed["items"][0]["route_id"] == made["route_id"]
    missing = {**route, "integration_id": "00000000-0000-4000-8000-000000000000"}
    assert (await admin.post("/integration-routes", missing))[0] == 404
    await admin.tenant("tenant-b")
    assert (await admin.post("/integration-routes", {**route, "tenant_id": "tenant-b"}))[0] == 404
    for wrong, field in (
        ({"severities": ["DREADFUL"]}, "severities.0"),
        ({"min_severity": 9}, "min_severity"),
        ({"deliver_on": ["SOMETIMES"]}, "deliver_on.0"),
        ({"deliver_on": []}, "deliver_on"),
        ({"integration_id": "42"}, "integration_id"),
        ({"priority": "high"}, "priority"),
        ({"colour": "red"}, "colour"),
    ):
        status, body, _ = await admin.post("/integration-routes", {**route, **wrong})
        assert (status, fields(body)) == (422, [field])


async def test_lists_come_in_pages(admin: Admin) -> None:
    await admin.tenant()
    for number in range(5):
        await admin.device(f"dev-{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        _, page, _ = await admin.get(f"/devices?limit=2{cursor}")
        seen += [each["device_id"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [f"dev-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("status=DEAD", "status"),
        ("tenant_id=a%20b", "tenant_id"),
        ("tenant_id=a%00b", "tenant_id"),
        ("colour=red", "colour"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_wrong_parameters_are_told_by_name(admin: Admin, query: str, field: str) -> None:
    status, body, headers = await admin.get(f"/devices?{query}")
    assert (status, fields(body)) == (422, [field])
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("cursor", ["nonsense", "%00", "W10", "WzEsMl0", "%C3%A9", "x" * 2000])
async def test_a_cursor_of_ones_own_making_is_refused(admin: Admin, cursor: str) -> None:
    await admin.tenant()
    await admin.device()
    for path in ("/devices", "/tenants", "/alerts", "/deliveries", "/devices/tenant-a/dev-1/telemetry"):
        status, _, _ = await admin.get(f"{path}?cursor={cursor}")
        assert status == 422, path


async def test_without_the_key_there_is_nothing_to_see(admin: Admin, database: Database, tmp_path: Path) -> None:
    for key in (None, "", "wrong", KEY + "x", KEY[:-1], "é"):
        for path in ("/devices", "/alerts", "/integrations"):
            status, body, headers = await admin.get(path, key=key)
            assert (status, body["status"], headers["Content-Type"]) == (401, 401, "application/problem+json")
    status, _, _ = await admin.post("/devices", {"not": "even looked at"}, key="wrong")
    assert status == 401
    async with admin_api(database, tmp_path, mode="prod", admin_key=None) as closed:
        for key in ("dev-admin-key", ""):
            assert (await closed.get("/devices", key=key))[0] == 401


LONG = "x" * 10_000
BAD_IDS: list[Any] = [
    "",
    " ",
    "a b",
    "a/b",
    "a\nb",
    "dev\n",
    "\0",
    "\ud800",
    "🚀",
    LONG,
    "é",
    "*",
    "../etc",
    None,
    5,
    ["a"],
    {},
]


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
async def test_ids_of_the_wrong_form_are_refused(admin: Admin, bad: Any) -> None:
    await admin.tenant()
    good = {"tenant_id": "tenant-a", "device_id": "dev-1", "site_id": "site-1"}
    for name in good:
        raw = json.dumps({**good, name: bad})
        status, body, _ = await admin.call("POST", "/devices", data=raw, headers={"Content-Type": "application/json"})
        assert status in {400, 422}, body


NESTED = "[" * 10_000 + "]" * 10_000
BAD_BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"\xff\xfe", 400),
    (b"[]", 422),
    (b"null", 422),
    (b'"text"', 422),
    (b"17", 422),
    (b"{}", 422),
    (NESTED.encode(), 400),
    (b'{"tenant_id": NaN}', 400),
    (b'{"tenant_id": "t", "stale_after_s": 1e999}', 400),
    (b'{"tenant_id": "t", "stale_after_s": -1}', 422),
    (b'{"tenant_id": "t", "stale_after_s": ' + b"9" * 400 + b"}", 422),
    (b'{"tenant_id": "t", "name": "\\u0000"}', 422),
    (b'{"tenant_id": "t", "name": "\\ud800"}', 400),
    (b'{"tenant_id": "t", "name": "a\\nb"}', 422),
    (b'{"tenant_id": "t", "name": "' + LONG.encode() + b'"}', 422),
    (b'{"tenant_id": "t", "\\u0000": 1}', 422),
    (b'{"tenant_id": "t"} trailing', 400),
]


@pytest.mark.parametrize(("raw", "expected"), BAD_BODIES, ids=[str(raw[:40]) for raw, _ in BAD_BODIES])
async def test_bad_bodies_are_the_callers_fault(admin: Admin, raw: bytes, expected: int) -> None:
    status, body, headers = await admin.call("POST", "/tenants", data=raw, headers={"Content-Type": "application/json"})
    assert (status, headers["Content-Type"]) == (expected, "application/problem+json"), body
    assert body["status"] == expected
    assert body["request_id"] == headers["X-Request-Id"]


async def test_what_cannot_be_stored_inside_a_config_is_refused(admin: Admin) -> None:
    await admin.tenant()
    wanted = {
        "tenant_id": "tenant-a",
        "type": "webhook",
        "name": "n",
        "config": {"url": "https://example.com/\0", "secret": SECRET, "headers": {"X\0": "y"}},
    }
    assert (await admin.post("/integrations", wanted))[0] == 422


async def test_other_ways_to_be_wrong(admin: Admin) -> None:
    status, _, _ = await admin.call("POST", "/tenants", data=b"{}", headers={"Content-Type": "text/plain"})
    assert status == 415
    big = b'{"tenant_id": "' + b"x" * MAX_BODY_BYTES + b'"}'
    status, body, _ = await admin.call("POST", "/tenants", data=big, headers={"Content-Type": "application/json"})
    assert (status, body["status"]) == (413, 413)
    status, _, headers = await admin.call("DELETE", "/tenants")
    assert status == 405
    assert "GET" in headers["Allow"]
    assert (await admin.get("/nothing"))[0] == 404
    assert (await admin.get("//devices"))[0] == 404
    assert (await admin.get("/devices/a%2Fb/c%20d"))[0] == 404
    assert (await admin.get("/devices/%00/%ff/telemetry"))[0] == 404
    _, _, headers = await admin.get("/tenants", headers={"X-Request-Id": "my-id-1"})
    assert headers["X-Request-Id"] == "my-id-1"
    _, _, headers = await admin.get("/tenants", headers={"X-Request-Id": "a b" + "c" * 99})
    assert "a b" not in headers["X-Request-Id"]


async def test_telemetry_alerts_and_deliveries_can_be_asked_for(admin: Admin) -> None:
    await admin.tenant()
    await admin.device()
    for path in (
        "/devices/tenant-a/dev-1/telemetry",
        "/devices/tenant-a/dev-1/telemetry?start=2026-01-01T00:00:00Z&end=2026-01-02T00:00:00&limit=200",
        "/alerts?tenant_id=tenant-a&device_id=dev-1&status=OPEN&alert_type=NO_HEARTBEAT",
        "/deliveries?tenant_id=tenant-a&status=DEAD",
    ):
        assert (await admin.get(path))[:2] == (200, {"items": [], "next": None}), path
    for path in (
        "/devices/tenant-a/dev-1/telemetry?start=yesterday",
        "/alerts?status=ANGRY",
        "/deliveries?alert_id=1",
    ):
        assert (await admin.get(path))[0] == 422, path
    for start in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        assert (await admin.get(f"/devices/tenant-a/dev-1/telemetry?start={start}&end={start}"))[0] == 200


async def test_while_the_database_is_away_the_answer_is_503(tmp_path: Path) -> None:
    config = load_config(None, mode="dev", data_dir=tmp_path, admin_key=KEY)
    closed = Admin(create_app(Services(config, SecretBox("k" * 40), load_plugins(config))).test_client())
    status, body, headers = await closed.get("/devices")
    assert (status, body["title"]) == (503, "Service Unavailable")
    assert int(headers["Retry-After"]) > 0


async def test_who_did_what_stands_in_the_audit_log(admin: Admin, database: Database) -> None:
    await admin.tenant()
    await admin.device()
    await admin.post("/devices/tenant-a/dev-1/revoke")
    with database.superuser() as connection:
        rows = connection.execute("SELECT actor, action, resource FROM audit_log ORDER BY at").fetchall()
    assert rows == [
        ("admin-key", "admin.access", "POST /api/admin/tenants"),
        ("admin-key", "tenant.create", "tenant-a"),
        ("admin-key", "admin.access", "POST /api/admin/devices"),
        ("admin-key", "device.create", "tenant-a/dev-1"),
        ("admin-key", "admin.access", "POST /api/admin/devices/tenant-a/dev-1/revoke"),
        ("admin-key", "device.revoke", "tenant-a/dev-1"),
    ]
