"""``/customer/api-tokens`` and ``/operator/api-tokens``: minted by people, shown once, narrowed, ended everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from pulse_server.scopes import AREAS, opens
from support.batches import judged
from support.people import Door, person
from support.rights import routes
from support.waiting import eventually

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

NEW = {"name": "night shift", "role": "customer_viewer", "days": 30}


@pytest.fixture
def door(admin: Admin, database: Database) -> Door:
    person(database)
    person(database, "root", Role.OPERATOR_ADMIN, "")
    return Door(admin.client)


@pytest.fixture
async def ada(door: Door) -> Caller:
    return door.bearer((await door.tokens())["access_token"], "/customer")


@pytest.fixture
async def root(door: Door) -> Caller:
    return door.bearer((await door.tokens("root"))["access_token"], "/operator")


async def test_a_token_is_minted_used_listed_and_revoked(ada: Caller, door: Door, database: Database) -> None:
    status, made, _ = await ada.post("/api-tokens", NEW)
    assert status == 201, made
    token = made.pop("token")
    program = door.bearer(token, "/customer")
    assert (await program.get("/devices"))[0] == 200
    assert (await program.get("/api-tokens"))[0] == 403, "a viewer"
    _, listed, _ = await ada.get("/api-tokens")
    (item,) = listed["items"]
    assert item["last_used_at"] is not None
    assert {**item, "last_used_at": None} == made
    assert (item["name"], item["role"], item["scopes"], item["created_by"]) == (
        "night shift", "customer_viewer", None, "user:ada",
    )  # fmt: skip
    assert token not in str(
        [judged(database, f"SELECT to_jsonb(t)::text FROM {t} t") for t in ("api_tokens", "audit_log")]
    )
    assert (await ada.delete(f"/api-tokens/{item['token_id']}"))[0] == 204

    async def refused() -> bool:
        return (await program.get("/devices"))[0] == 401

    await eventually(refused, within_s=5, what="the token's end")
    assert (await ada.delete(f"/api-tokens/{item['token_id']}"))[0] == 204
    assert (await ada.get("/api-tokens"))[1]["items"][0]["revoked_at"] is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "operator"}, {"days": 367}, {"days": 0}, {"name": ""}, {"tenant_id": "tenant-b"}, {"scopes": []},
        {"scopes": ["everything"]}, {"scopes": "devices"},
    ],
)  # fmt: skip
async def test_what_no_customer_mints(ada: Caller, database: Database, wrong: dict[str, Any]) -> None:
    assert (await ada.post("/api-tokens", {**NEW, **wrong}))[0] == 422
    assert judged(database, "SELECT FROM api_tokens") == []


async def test_a_program_mints_nothing_that_would_outlive_it(admin: Admin) -> None:
    assert (await (await admin.customer()).post("/api-tokens", NEW))[0] == 403
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    assert (await operator.post("/api-tokens", {"name": "n", "role": "operator"}))[0] == 403


async def test_another_tenants_tokens_are_neither_seen_nor_ended(ada: Caller, admin: Admin, database: Database) -> None:
    await admin.tenant("tenant-b")
    await admin.customer("tenant-b")
    await admin.operator()
    assert (await ada.get("/api-tokens"))[1]["items"] == []
    for (token_id,) in judged(database, "SELECT token_id FROM api_tokens"):
        assert (await ada.delete(f"/api-tokens/{token_id}"))[0] == 404
    assert judged(database, "SELECT FROM api_tokens WHERE revoked_at IS NOT NULL") == []


async def test_scopes_open_their_areas_alone(ada: Caller, door: Door) -> None:
    wanted = {"name": "reader", "role": "customer_admin", "scopes": ["devices", "alerts"]}
    _, made, _ = await ada.post("/api-tokens", wanted)
    assert made["scopes"] == ["alerts", "devices"]
    program = door.bearer(made["token"], "/customer")
    for path, status in {
        "/devices": 200, "/alerts": 200, "/integrations": 403, "/users": 403, "/api-tokens": 403, "/audit-log": 403,
        "/dashboard": 403, "/deliveries": 403, "/devices/nobodys": 404,
    }.items():  # fmt: skip
        found, body, _ = await program.get(path)
        assert found == status, (path, body)
    assert (await program.post("/integrations", {"name": "x"}))[0] == 403
    _, made, _ = await ada.post("/api-tokens", {**wanted, "role": "customer_viewer"})
    viewer = door.bearer(made["token"], "/customer")
    assert (await viewer.patch("/devices/d", {"name": "x"}))[0] == 403, "the role still counts"


def test_every_route_stands_in_one_area(admin: Admin) -> None:
    for side in ("/customer", "/operator"):
        for route in routes(admin.client.app, side):
            areas = [name for name in AREAS if opens(frozenset({name}), route.rule)]
            assert len(areas) == 1, str(route)
    assert not opens(frozenset(AREAS), "/customer/new-thing")
    assert not opens(frozenset(AREAS), "/")


async def test_operators_mint_for_tenants_and_for_themselves(root: Caller, door: Door, database: Database) -> None:
    for wanted, status in (
        ({"name": "theirs", "role": "customer_admin", "tenant_id": "tenant-a"}, 201),
        ({"name": "ours", "role": "operator", "scopes": ["devices"]}, 201),
        ({"name": "n", "role": "customer_admin"}, 422),
        ({"name": "n", "role": "customer_admin", "tenant_id": "nowhere"}, 404),
        ({"name": "n", "role": "operator", "days": 367}, 422),
    ):
        found, body, _ = await root.post("/api-tokens", wanted)
        assert found == status, body
        if wanted["name"] == "ours":
            program = door.bearer(body["token"], "/operator")
            assert ((await program.get("/devices"))[0], (await program.get("/alerts"))[0]) == (200, 403)
            assert (await program.get("/tenants/tenant-a/devices"))[0] == 403
    _, listed, _ = await root.get("/api-tokens?sort=name")
    assert [item["name"] for item in listed["items"]] == ["ours", "theirs"]
    assert [item["name"] for item in (await root.get("/api-tokens?tenant_id=tenant-a"))[1]["items"]] == ["theirs"]
    assert (await root.delete(f"/api-tokens/{listed['items'][1]['token_id']}"))[0] == 204
    assert judged(database, "SELECT name FROM api_tokens WHERE revoked_at IS NOT NULL") == [("theirs",)]
    assert ("user:root", "token.revoke", "tenant-a") in judged(
        database, "SELECT actor, action, tenant_id FROM audit_log"
    )
