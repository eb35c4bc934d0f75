"""Integrations and routes: every call names its tenant, secrets never show, every deed is logged."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.errors import Conflict, NotFound, PermanentFailure
from pulse_core.records import Route
from pulse_postgres.integrations import Integrations
from pulse_postgres.pool import open_pool
from support.batches import judged, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database

ME = "admin-key"


@pytest.fixture
async def integrations(database: Database) -> AsyncIterator[Integrations]:
    register(database, "tenant-a/dev-1", "tenant-b/dev-1")
    pool = await open_pool(database.dsn("pulse_admin"), name="test")
    yield Integrations(pool)
    await pool.close()


async def make(integrations: Integrations, tenant_id: str = "tenant-a", **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "type_": "webhook",
        "name": "hook",
        "config": {"url": "https://x.example"},
        "secrets": b"sealed",
    }
    return await integrations.create(tenant_id, **(given | fields), actor=ME)


async def test_an_integration_is_made_shown_changed_and_removed(integrations: Integrations) -> None:
    made = await make(integrations)
    integration_id = made["integration_id"]
    expected = {
        "tenant_id": "tenant-a",
        "type": "webhook",
        "name": "hook",
        "enabled": True,
        "disabled_reason": None,
        "config": {"url": "https://x.example"},
        "has_secrets": True,
    }
    assert made | expected == made
    assert b"sealed" not in made.values()
    assert await integrations.get("tenant-a", integration_id) == made
    assert (await integrations.page("tenant-a")).items == [made]
    stored = await integrations.stored("tenant-a", integration_id)
    assert (stored.secrets, stored.config, stored.type) == (b"sealed", {"url": "https://x.example"}, "webhook")
    renamed = await integrations.update("tenant-a", integration_id, name="other", actor=ME)
    assert (renamed["name"], renamed["config"], renamed["has_secrets"]) == ("other", made["config"], True)
    changed = await integrations.update("tenant-a", integration_id, config={"url": "https://y"}, actor=ME)
    assert (changed["config"], changed["has_secrets"]) == ({"url": "https://y"}, False)
    again = await integrations.stored("tenant-a", integration_id)
    assert again.secrets is None
    assert again.updated_us > stored.updated_us
    await integrations.delete("tenant-a", integration_id, actor=ME)
    with pytest.raises(NotFound):
        await integrations.get("tenant-a", integration_id)


async def test_enabling_clears_the_reason_and_nothing_else_does(integrations: Integrations, database: Database) -> None:
    integration_id = (await make(integrations))["integration_id"]
    judged(database, "UPDATE integrations SET enabled = false, disabled_reason = '410 Gone' RETURNING true")
    renamed = await integrations.update("tenant-a", integration_id, name="x", actor=ME)
    assert (renamed["enabled"], renamed["disabled_reason"]) == (False, "410 Gone")
    enabled = await integrations.update("tenant-a", integration_id, enabled=True, actor=ME)
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)


async def test_what_is_another_tenants_does_not_exist(integrations: Integrations, database: Database) -> None:
    integration_id = (await make(integrations))["integration_id"]
    route = Route("tenant-a", uuid.uuid4(), integration_id)
    await integrations.create_route(route, actor=ME)
    stolen = msgspec.structs.replace(route, tenant_id="tenant-b")
    attempts = [
        integrations.get("tenant-b", integration_id),
        integrations.stored("tenant-b", integration_id),
        integrations.update("tenant-b", integration_id, name="mine", actor=ME),
        integrations.delete("tenant-b", integration_id, actor=ME),
        integrations.get_route("tenant-b", route.route_id),
        integrations.update_route(stolen, actor=ME),
        integrations.delete_route("tenant-b", route.route_id, actor=ME),
        integrations.create_route(msgspec.structs.replace(stolen, route_id=uuid.uuid4()), actor=ME),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt
    assert (await integrations.page("tenant-b")).items == []
    assert (await integrations.route_page("tenant-b")).items == []
    assert judged(database, "SELECT name FROM integrations") == [("hook",)]
    assert len(judged(database, "SELECT FROM integration_routes")) == 1


async def test_a_tenant_that_does_not_exist_has_no_integrations(integrations: Integrations) -> None:
    with pytest.raises(NotFound, match="tenant-z"):
        await make(integrations, "tenant-z")
    with pytest.raises(PermanentFailure):
        await make(integrations, name="\x00")


async def test_integrations_come_in_pages_and_by_type(integrations: Integrations) -> None:
    for number in range(5):
        await make(integrations, type_="email" if number == 2 else "webhook", name=f"hook-{number}")
    await make(integrations, "tenant-b")
    seen, cursor = [], None
    while True:
        page = await integrations.page("tenant-a", limit=2, cursor=cursor)
        seen += [item["name"] for item in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == [f"hook-{number}" for number in range(5)]
    emails = await integrations.page("tenant-a", type_="email")
    assert [item["name"] for item in emails.items] == ["hook-2"]


async def test_a_route_keeps_all_its_fields(integrations: Integrations) -> None:
    one, other = (await make(integrations))["integration_id"], (await make(integrations))["integration_id"]
    route = Route(
        "tenant-a",
        uuid.uuid4(),
        one,
        name="night shift",
        alert_types=frozenset({"NO_HEARTBEAT"}),
        severities=frozenset({4, 5}),
        min_severity=2,
        site_ids=frozenset({"site-1", "site-2"}),
        device_prefixes=("b-", "a-"),
        deliver_on=frozenset({"CLOSED", "OPEN"}),
        priority=-3,
        enabled=False,
        fallback_integration_id=other,
        fallback_after_s=120,
    )
    await integrations.create_route(route, actor=ME)
    assert await integrations.get_route("tenant-a", route.route_id) == route
    (item,) = (await integrations.route_page("tenant-a")).items
    assert item | {"integration_enabled": True} == msgspec.structs.asdict(route) | {
        "alert_types": ["NO_HEARTBEAT"],
        "severities": [4, 5],
        "site_ids": ["site-1", "site-2"],
        "deliver_on": ["CLOSED", "OPEN"],
    }
    plain = Route("tenant-a", route.route_id, other)
    await integrations.update_route(plain, actor=ME)
    assert await integrations.get_route("tenant-a", route.route_id) == msgspec.structs.replace(plain, revision=2)
    with pytest.raises(Conflict):
        await integrations.create_route(plain, actor=ME)
    with pytest.raises(NotFound, match="integration"):
        await integrations.update_route(msgspec.structs.replace(plain, integration_id=uuid.uuid4()), actor=ME)
    await integrations.delete_route("tenant-a", route.route_id, actor=ME)
    with pytest.raises(NotFound):
        await integrations.get_route("tenant-a", route.route_id)


async def test_a_route_leads_only_to_an_integration_of_its_tenant(integrations: Integrations) -> None:
    foreign = (await make(integrations, "tenant-b"))["integration_id"]
    with pytest.raises(NotFound, match="integration"):
        await integrations.create_route(Route("tenant-a", uuid.uuid4(), foreign), actor=ME)


async def test_routes_come_in_pages(integrations: Integrations) -> None:
    integration_id = (await make(integrations))["integration_id"]
    ids = sorted(uuid.uuid4() for _ in range(5))
    for route_id in ids:
        await integrations.create_route(Route("tenant-a", route_id, integration_id), actor=ME)
    first = await integrations.route_page("tenant-a", limit=3)
    rest = await integrations.route_page("tenant-a", limit=3, cursor=first.next)
    assert [item["route_id"] for item in first.items + rest.items] == ids
    assert rest.next is None


async def test_every_deed_is_in_the_audit_log(integrations: Integrations, database: Database) -> None:
    integration_id = (await make(integrations))["integration_id"]
    route = Route("tenant-a", uuid.uuid4(), integration_id)
    await integrations.create_route(route, actor=ME)
    await integrations.update_route(route, actor="op")
    await integrations.delete_route("tenant-a", route.route_id, actor=ME)
    await integrations.update("tenant-a", integration_id, name="n", actor="op")
    await integrations.delete("tenant-a", integration_id, actor=ME)
    logged = judged(database, "SELECT tenant_id, actor, action, resource FROM audit_log ORDER BY at")
    assert logged == [
        ("tenant-a", actor, action, f"tenant-a/{name}")
        for actor, action, name in [
            (ME, "integration.create", integration_id),
            (ME, "route.create", route.route_id),
            ("op", "route.update", route.route_id),
            (ME, "route.delete", route.route_id),
            ("op", "integration.update", integration_id),
            (ME, "integration.delete", integration_id),
        ]
    ]
    assert "sealed" not in str(judged(database, "SELECT to_jsonb(l)::text FROM audit_log l"))
