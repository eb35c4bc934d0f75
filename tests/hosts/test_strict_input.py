"""What looks like a value of another kind is not taken for it: found by generated requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from pulse_core.settings import Settings

if TYPE_CHECKING:
    from support.admin import Admin


@pytest.mark.parametrize("number", ["0", "0.5", "-1", "1e9", " 12 ", "1700000000000"])
async def test_a_time_is_never_a_number(admin: Admin, number: str) -> None:
    await admin.device()
    customer = await admin.customer()
    for path in (
        "/audit-log?from=",
        "/audit-log?before=",
        "/deliveries?created_from=",
        "/devices/dev-1/telemetry?start=",
    ):
        status, body, _ = await customer.get(f"{path}{number}")
        assert (status, [each["message"] for each in body["errors"]]) == (422, ["Value error, not in ISO 8601"]), path
    status, body, _ = await customer.post("/deliveries/replay", {"created_from": number})
    assert (status, [each["field"] for each in body["errors"]]) == (422, ["created_from"])


async def test_a_time_is_iso_8601_and_in_utc_if_it_names_no_zone(admin: Admin) -> None:
    await admin.device()
    customer = await admin.customer()
    for moment in ("2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678%2B02:00"):
        assert (await customer.get(f"/audit-log?from={moment}"))[0] == 200, moment
        assert (await customer.get(f"/devices/dev-1/telemetry?end={moment}"))[0] == 200, moment


@pytest.mark.parametrize(
    "changes",
    [{"MIRROR_REJECTS_TO_RAW": 0}, {"STORE_REJECTS": "yes"}, {"RATE_LIMIT_BURST": "30"}, {"MAX_PAYLOAD_BYTES": 4096.0}],
)
async def test_a_setting_is_of_its_own_type(admin: Admin, changes: dict[str, object]) -> None:
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    status, body, _ = await operator.post("/settings", changes)
    assert (status, [each["field"] for each in body["errors"]]) == (422, list(changes))
    assert (await operator.get("/settings"))[1] == Settings().model_dump()
    assert (await operator.post("/settings", {"RATE_LIMIT_RPS": 7, "STORE_REJECTS": False}))[0] == 200


async def test_a_threshold_that_would_be_stored_as_nothing_is_a_wrong_field(admin: Admin) -> None:
    tiny = {"tenant_id": "tenant-b", "stale_after_s": 5e-324}
    status, body, _ = await admin.post("/tenants", tiny)
    assert (status, [each["field"] for each in body["errors"]]) == (422, ["stale_after_s"])
    status, body, _ = await admin.post("/devices", {**tiny, "tenant_id": "tenant-a", "device_id": "d", "site_id": "s"})
    assert (status, [each["field"] for each in body["errors"]]) == (422, ["stale_after_s"])
    assert (await admin.post("/tenants", {**tiny, "stale_after_s": 0.5}))[1]["stale_after_s"] == 0.5


async def test_what_is_no_id_is_no_integration(admin: Admin) -> None:
    customer = await admin.customer()
    for method in ("PATCH", "DELETE"):
        status, _, headers = await customer.call(method, "/integrations/null", {"name": "n"})
        assert status == 405
        assert {"GET", "POST"} <= set(headers["Allow"].split(", "))
