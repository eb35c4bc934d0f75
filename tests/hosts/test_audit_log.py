"""The audit log as operators and customers read it, and where its lines come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from support.batches import judged

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

WEBHOOK = {
    "name": "w",
    "config": {"url": "https://x.example/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
}
HEADERS = {"X-Request-Id": "req-1", "User-Agent": "curl/8"}


@pytest.fixture
async def operator(admin: Admin) -> Caller:
    return await admin.operator(Role.OPERATOR_ADMIN)


async def lines(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    status, body, _ = await caller.get(f"/audit-log{query}")
    assert status == 200, body
    found: list[dict[str, Any]] = body["items"]
    return found


async def test_every_write_says_whence_it_came(admin: Admin, operator: Caller, customer: Caller) -> None:
    wanted = {"tenant_id": "tenant-a", "device_id": "dev-1", "site_id": "s"}
    await admin.post("/devices", wanted, headers=HEADERS)
    await customer.post("/integrations", WEBHOOK, headers=HEADERS)
    await operator.patch("/tenants/tenant-a", {"name": "A"}, headers=HEADERS)
    written = [each for each in await lines(operator) if each["request_id"] == "req-1"]
    assert {(each["actor"], each["action"]) for each in written} == {
        ("admin-key", "admin.access"),
        ("admin-key", "device.create"),
        ("token:customer_admin of tenant-a", "integration.create"),
        ("token:operator_admin of None", "operator.access"),
        ("token:operator_admin of None", "tenant.change"),
    }
    assert {(each["address"], each["agent"]) for each in written} == {("<local>", "curl/8")}
    about = {each["action"]: each["tenant_id"] for each in written}
    assert set(about.values()) == {"tenant-a", ""}
    assert about.pop("admin.access") == "", "whom it is about stands in the body, and in the line of the deed"
    assert set(about.values()) == {"tenant-a"}


async def test_the_peer_is_written_down_and_not_what_it_says_it_is(customer: Caller, operator: Caller) -> None:
    await customer.post(
        "/integrations",
        WEBHOOK,
        headers={"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "User-Agent": "x" * 300},
        scope_base={"client": ("198.51.100.7", 4711)},
    )
    (line,) = await lines(operator, "?action=integration.create")
    assert (line["address"], line["agent"]) == ("198.51.100.7", "x" * 200)
    assert line["request_id"]


async def test_lines_by_filter_newest_first_page_by_page(admin: Admin, operator: Caller, database: Database) -> None:
    await admin.tenant("tenant-b")
    for number in range(5):
        await admin.device(f"dev-{number}", "tenant-b")
    created = await lines(operator, "?action=device.create&tenant_id=tenant-b")
    assert [each["resource"] for each in created] == [f"tenant-b/dev-{number}" for number in (4, 3, 2, 1, 0)]
    assert len(await lines(operator, "?actor=admin-key&action=admin.access")) == 7
    assert await lines(operator, "?actor=nobody") == []
    middle = created[2]["at"]
    assert [each["resource"][-1] for each in await lines(operator, f"?action=device.create&from={middle}")] == [*"432"]
    assert [each["resource"][-1] for each in await lines(operator, f"?action=device.create&before={middle}")] == [*"10"]
    seen, cursor = [], ""
    while cursor is not None:
        _, body, _ = await operator.get(f"/audit-log?action=device.create&limit=2{cursor and f'&cursor={cursor}'}")
        seen += body["items"]
        cursor = body["next"]
    assert seen == created
    assert (await operator.get("/audit-log?since=2026-01-01"))[0] == 422
    assert judged(database, "SELECT DISTINCT written_by FROM audit_log WHERE action = 'device.create'") == [
        ("pulse_admin",)
    ]


async def test_a_tenant_reads_its_own_lines_and_no_operators_address(
    admin: Admin, operator: Caller, customer: Caller
) -> None:
    await admin.tenant("tenant-b")
    await customer.post("/integrations", WEBHOOK, headers=HEADERS)
    await operator.get("/tenants/tenant-a/devices", headers=HEADERS)
    await operator.get("/devices?tenant_id=tenant-b", headers=HEADERS)
    found = await lines(customer)
    assert all("tenant_id" not in each for each in found)
    assert [(each["action"], each["address"], each["agent"]) for each in found] == [
        ("operator.access", "", ""),
        ("integration.create", "<local>", "curl/8"),
        ("token.create", "", ""),
        ("tenant.create", "", ""),
    ]
    assert "tenant-b" not in str(found)
    assert len(await lines(customer, "?action=operator.access")) == 1
    theirs = await lines(await admin.customer("tenant-b"))
    assert [each["action"] for each in theirs] == ["token.create", "operator.access", "tenant.create"]


async def test_who_makes_no_request_has_no_address(operator: Caller) -> None:
    made = await lines(operator, "?action=token.create")
    assert {(each["address"], each["agent"], each["request_id"]) for each in made} == {("", "", "")}
