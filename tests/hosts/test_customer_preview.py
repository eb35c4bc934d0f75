"""What a route would have sent: asked of the tenant's own past alone, saved nowhere, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from pulse_postgres.connections import TenantPool
from pulse_postgres.pool import open_pool
from pulse_postgres.route_preview import recent_changes
from pulse_server.outputs.previews import RoutePreview
from pulse_server.web.customer import route_previews
from support.batches import judged
from support.told import an_alert

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

NOBODY = "00000000-0000-4000-8000-000000000000"


async def preview(customer: Caller, **fields: Any) -> dict[str, Any]:
    status, body, _ = await customer.post("/integration-routes/preview", {"integration_id": NOBODY, **fields})
    assert status == 200, body
    RoutePreview.model_validate(body)
    assert isinstance(body, dict)
    return body


@pytest.fixture
def past(database: Database, admin: Admin) -> Database:
    """Three alerts: closed, open, and closed long ago."""
    an_alert(database, decisions={"OPEN": [], "CLOSED": []})
    an_alert(database, status="OPEN", decisions={"OPEN": []})
    old = an_alert(database, decisions={"OPEN": [], "CLOSED": []})
    judged(
        database, "UPDATE alert_changes SET changed_at = now() - interval '8 days' WHERE alert_id = %s RETURNING 1", old
    )
    return database


async def test_it_counts_what_would_have_been_sent(customer: Caller, past: Database) -> None:
    found = await preview(customer)
    assert (found["days"], found["notifications"], found["changes"], found["complete"]) == (7, 2, 3, True)
    assert found["by_event"] == {"OPEN": 2, "ACKNOWLEDGED": 0, "CLOSED": 0}
    assert [each["event"] for each in found["newest"]] == ["OPEN", "OPEN"]
    assert found["newest"][0]["changed_at"] > found["newest"][1]["changed_at"]
    assert (await preview(customer, deliver_on=["OPEN", "CLOSED"]))["notifications"] == 3
    for narrowed in (
        {"min_severity": "CRITICAL"},
        {"site_ids": ["site-9"]},
        {"alert_types": ["OTHER"]},
        {"device_prefixes": ["x"]},
        {"enabled": False},
    ):
        assert (await preview(customer, **narrowed))["notifications"] == 0, narrowed
    assert judged(past, "SELECT count(*) FROM integration_routes") == [(0,)]
    assert judged(past, "SELECT count(*) FROM deliveries") == [(0,)]


async def test_what_is_cut_is_said(customer: Caller, past: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_previews, "_PREVIEWED", 2)
    found = await preview(customer, deliver_on=["OPEN", "CLOSED"])
    assert (found["changes"], found["complete"], found["notifications"]) == (2, False, 2)


async def test_another_tenants_past_is_not_asked(admin: Admin, past: Database) -> None:
    await admin.tenant("tenant-b")
    assert (await preview(await admin.customer("tenant-b")))["changes"] == 0


async def test_each_guard_alone_suffices(past: Database) -> None:
    """The query names the tenant where all can be seen; row-level security sees to it where the query is wrong."""
    everything = await open_pool(past.dsn("pulse_operator"), name="test", max_size=1)
    bound = await open_pool(past.dsn("pulse_web"), name="test", max_size=1)
    try:
        assert len(await recent_changes(everything, "tenant-a", 0, 100)) == 5
        assert await recent_changes(everything, "tenant-b", 0, 100) == []
        assert await recent_changes(TenantPool(bound, "tenant-b"), "tenant-a", 0, 100) == []
        assert len(await recent_changes(TenantPool(bound, "tenant-a"), "tenant-a", 0, 100)) == 5
    finally:
        await everything.close()
        await bound.close()


async def test_viewers_may_not_and_what_is_wrong_is_told(admin: Admin, customer: Caller) -> None:
    viewer = await admin.customer(role=Role.CUSTOMER_VIEWER)
    assert (await viewer.post("/integration-routes/preview", {"integration_id": NOBODY}))[0] == 403
    status, body, _ = await customer.post("/integration-routes/preview", {"integration_id": NOBODY, "severities": [9]})
    assert (status, body["errors"][0]["field"]) == (422, "severities.0")
