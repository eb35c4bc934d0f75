"""Tenants over the operator API: made, changed, suspended, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from support.batches import judged

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

SUSPENDED = {"status": "SUSPENDED"}


@pytest.fixture
async def operator(admin: Admin) -> Caller:
    return await admin.operator(Role.OPERATOR_ADMIN)


async def test_a_tenant_is_made_and_has_everything_it_needs(admin: Admin, operator: Caller) -> None:
    status, made, _ = await operator.post("/tenants", {"tenant_id": "new", "name": "New", "stale_after_s": 60.0})
    assert (status, made["status"], made["stale_after_s"]) == (201, "ACTIVE", 60)
    assert (await operator.post("/tenants", {"tenant_id": "new"}))[0] == 409
    await admin.device("dev-1", "new")
    assert (await admin.post("/devices/new/dev-1/activate-code"))[0] == 201
    assert (await (await admin.customer("new")).get("/devices"))[1]["items"][0]["device_id"] == "dev-1"
    assert [each["tenant_id"] for each in (await operator.get("/tenants"))[1]["items"]] == ["new", "tenant-a"]
    assert (await operator.get("/tenants/new"))[1]["name"] == "New"


async def test_a_tenant_is_renamed_suspended_and_resumed(admin: Admin, operator: Caller) -> None:
    customer = await admin.customer()
    assert (await operator.patch("/tenants/tenant-a", {"name": "Us"}))[1]["name"] == "Us"
    status, body, _ = await operator.patch("/tenants/tenant-a", SUSPENDED)
    assert (status, body["status"], body["name"]) == (200, "SUSPENDED", "Us")
    assert (await customer.get("/devices"))[0] == 401
    assert (await operator.patch("/tenants/tenant-a", {"status": "ACTIVE"}))[1]["suspended_at"] is None
    assert (await customer.get("/devices"))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {"status": "GONE"},
        {"status": None},
        {"name": None},
        {"tenant_id": "other"},
        {"stale_after_s": 0},
        {"stale_on_disconnect": "sometimes"},
        {"stale_on_disconnect": None},
    ],
)
async def test_what_cannot_be_is_422(operator: Caller, database: Database, body: dict[str, object]) -> None:
    before = judged(database, "SELECT * FROM tenants")
    assert (await operator.patch("/tenants/tenant-a", body))[0] == 422
    assert judged(database, "SELECT * FROM tenants") == before


async def test_removing_needs_suspension_and_the_id_once_more(operator: Caller, database: Database) -> None:
    for query in ("", "?confirm=", "?confirm=tenant-b", "?confirm=tenant-a&confirm=tenant-a", "?force=tenant-a"):
        assert (await operator.delete(f"/tenants/tenant-a{query}"))[0] == 422, query
    assert (await operator.delete("/tenants/tenant-a?confirm=tenant-a"))[0] == 409
    await operator.patch("/tenants/tenant-a", SUSPENDED)
    assert (await operator.delete("/tenants/tenant-a?confirm=tenant-a"))[0] == 409
    judged(database, "UPDATE tenants SET suspended_at = now() - interval '11 seconds' RETURNING true")
    assert (await operator.delete("/tenants/tenant-a?confirm=tenant-a"))[:2] == (200, {"removed": {"readings": 0}})
    assert (await operator.delete("/tenants/tenant-a?confirm=tenant-a"))[0] == 404
    assert (await operator.get("/tenants/tenant-a"))[0] == 404
    assert (await operator.patch("/tenants/tenant-a", SUSPENDED))[0] == 404
