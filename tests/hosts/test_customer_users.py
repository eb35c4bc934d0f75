"""``/customer/users`` and ``/operator/users``: who may log in, and that somebody stays in charge."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from support.admin import Caller, admin_api
from support.batches import judged
from support.people import PASSWORD, Door, person
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from support.admin import Admin
    from support.database import Database

NEW = {"username": "bob", "role": "customer_viewer", "email": "bob@example.com"}


@pytest.fixture
def door(admin: Admin, database: Database) -> Door:
    person(database)
    return Door(admin.client)


@pytest.fixture
async def ada(door: Door) -> Caller:
    """The tenant's one administrator, logged in."""
    return door.bearer((await door.tokens())["access_token"], "/customer")


def id_of(database: Database, username: str) -> uuid.UUID:
    ((found,),) = judged(database, f"SELECT user_id FROM users WHERE username = '{username}'")
    assert isinstance(found, uuid.UUID)
    return found


async def locked_out(door: Door, token: str) -> bool:
    return await door.status(token) == 401


async def test_a_user_is_made_with_a_password_that_is_shown_once(ada: Caller, door: Door, database: Database) -> None:
    status, made, _ = await ada.post("/users", NEW)
    assert status == 201, made
    initial = made.pop("initial_password")
    assert len(initial) == 29
    assert (made["username"], made["role"], made["tenant_id"], made["created_by"]) == (
        "bob", "customer_viewer", "tenant-a", "user:ada",
    )  # fmt: skip
    tokens = await door.tokens("bob", initial)
    assert (await door.bearer(tokens["access_token"], "/customer").get("/devices"))[0] == 200
    assert (await door.bearer(tokens["access_token"], "/customer").get("/users"))[0] == 403
    status, shown, _ = await ada.get(f"/users/{made['user_id']}")
    assert (status, shown["username"], "initial_password" in shown) == (200, "bob", False)
    everything = str([judged(database, f"SELECT to_jsonb(t)::text FROM {t} t") for t in ("users", "audit_log")])
    assert initial not in everything
    ((details,),) = judged(database, "SELECT details FROM audit_log WHERE action = 'user.create'")
    assert details == {"role": "customer_viewer", "email": "bob@example.com"}


async def test_a_password_of_ones_own_is_checked(ada: Caller, door: Door) -> None:
    for weak in ("short", "bob", "a" * 12, "x" * 1025):
        status, body, _ = await ada.post("/users", {**NEW, "password": weak})
        assert status == 422, body
        assert weak not in str(body).replace("username", "") or weak == "bob"
    status, made, _ = await ada.post("/users", {**NEW, "password": PASSWORD})
    assert (status, made["initial_password"]) == (201, None)
    assert (await door.log_in("bob"))[0] == 200


async def test_a_taken_name_is_409_and_does_not_say_whose(ada: Caller, admin: Admin, database: Database) -> None:
    await admin.tenant("tenant-b")
    person(database, "theirs", tenant_id="tenant-b")
    person(database, "olga", Role.OPERATOR, "")
    answers = [
        await ada.post("/users", {**NEW, "username": name}, headers={"X-Request-Id": "same"})
        for name in ("theirs", "olga", "ada")
    ]
    assert {answer[0] for answer in answers} == {409}
    assert len({str(answer[1]) for answer in answers}) == 1


async def test_names_cannot_be_tried_without_end(ada: Caller) -> None:
    statuses = [(await ada.post("/users", {**NEW, "password": "weak"}))[0] for _ in range(31)]
    assert statuses == [422] * 30 + [429]


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "operator"}, {"role": "operator_admin"}, {"tenant_id": "tenant-b"}, {"username": "Bob!"},
        {"email": "nobody"}, {"disabled": True}, {"username": ""},
    ],
)  # fmt: skip
async def test_nobody_is_made_what_a_customer_may_not_make(
    ada: Caller, database: Database, wrong: dict[str, Any]
) -> None:
    assert (await ada.post("/users", {**NEW, **wrong}))[0] == 422
    path = f"/users/{id_of(database, 'ada')}"
    if "email" not in wrong and "disabled" not in wrong:
        assert (await ada.patch(path, wrong))[0] == 422
    assert judged(database, "SELECT username, role, tenant_id FROM users") == [("ada", "customer_admin", "tenant-a")]


@pytest.mark.parametrize(
    "change", [{"disabled": True}, {"role": "customer_admin"}, {"password": "another long one"}, None]
)
async def test_what_ends_a_users_access_does_so_within_5_s(
    ada: Caller, door: Door, database: Database, change: dict[str, Any] | None
) -> None:
    await ada.post("/users", {**NEW, "password": PASSWORD})
    tokens = await door.tokens("bob")
    assert await door.status(tokens["access_token"]) == 200
    path = f"/users/{id_of(database, 'bob')}"
    status, body, _ = await (ada.delete(path) if change is None else ada.patch(path, change))
    assert status == (204 if change is None else 200), body

    await eventually(lambda: locked_out(door, tokens["access_token"]), within_s=5, what="the end of access")
    assert (await door.refresh(tokens["refresh_token"]))[0] == 401


async def test_an_address_is_changed_and_nobody_is_logged_out(ada: Caller, door: Door, database: Database) -> None:
    await ada.post("/users", {**NEW, "password": PASSWORD})
    tokens = await door.tokens("bob")
    path = f"/users/{id_of(database, 'bob')}"
    assert (await ada.patch(path, {"email": "b@example.com"}))[1]["email"] == "b@example.com"
    assert (await door.refresh(tokens["refresh_token"]))[0] == 200
    ((details,),) = judged(database, "SELECT details FROM audit_log WHERE action = 'user.change'")
    assert details == {"email": {"old": "bob@example.com", "new": "b@example.com"}}


async def test_a_password_is_reset_and_shown_once(ada: Caller, door: Door, database: Database) -> None:
    await ada.post("/users", {**NEW, "password": PASSWORD})
    path = f"/users/{id_of(database, 'bob')}"
    _, body, _ = await ada.patch(path, {"reset_password": True, "disabled": False})
    assert (await door.log_in("bob"))[0] == 401
    assert (await door.log_in("bob", body["initial_password"]))[0] == 200
    for wrong in ({"reset_password": True, "password": PASSWORD}, {"password": None}, {"role": None}, {"email": None}):
        assert (await ada.patch(path, wrong))[0] == 422, wrong


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "customer_viewer"}, None])
async def test_the_last_one_in_charge_stays(
    ada: Caller, admin: Admin, database: Database, change: dict[str, Any] | None
) -> None:
    person(database, "viewer", Role.CUSTOMER_VIEWER)
    person(database, "gone")
    judged(database, "UPDATE users SET disabled_at = now() WHERE username = 'gone' RETURNING true")
    await admin.tenant("tenant-b")
    person(database, "theirs", tenant_id="tenant-b")
    program = await admin.customer()
    path = f"/users/{id_of(database, 'ada')}"
    for caller in (ada, program):
        status, body, _ = await (caller.delete(path) if change is None else caller.patch(path, change))
        assert (status, "in charge" in body["detail"]) == (409, True)
    judged(database, "UPDATE users SET disabled_at = NULL WHERE username = 'gone' RETURNING true")
    status, _, _ = await (ada.delete(path) if change is None else ada.patch(path, change))
    assert status in {200, 204}


async def test_two_who_remove_each_other_at_once_leave_one(ada: Caller, admin: Admin, database: Database) -> None:
    person(database, "eve")
    program = await admin.customer()
    for _ in range(5):
        paths = [f"/users/{id_of(database, name)}" for name in ("ada", "eve")]
        answers = await asyncio.gather(*(program.patch(path, {"disabled": True}) for path in paths))
        assert sorted(answer[0] for answer in answers) == [200, 409]
        judged(database, "UPDATE users SET disabled_at = NULL RETURNING true")


async def test_users_are_listed_filtered_and_sorted(ada: Caller, admin: Admin, database: Database) -> None:
    await admin.tenant("tenant-b")
    person(database, "theirs", tenant_id="tenant-b")
    person(database, "zoe", Role.CUSTOMER_VIEWER)
    judged(database, "UPDATE users SET disabled_at = now() WHERE username = 'zoe' RETURNING true")
    for query, names in {
        "": ["ada", "zoe"],
        "?sort=-username": ["zoe", "ada"],
        "?sort=last_login_at": ["ada", "zoe"],
        "?role=customer_viewer": ["zoe"],
        "?disabled=true": ["zoe"],
        "?disabled=false": ["ada"],
        "?search=ADA@": ["ada"],
    }.items():
        _, body, _ = await ada.get(f"/users{query}")
        assert [item["username"] for item in body["items"]] == names, query
        assert "hash" not in str(body)


async def test_without_the_plugin_nobody_is_given_a_password(database: Database, tmp_path: Path) -> None:
    plugins = {"enabled": ["http", "heartbeat", "webhook", "postgres"]}
    async with admin_api(database, tmp_path, plugins=plugins) as admin:
        await admin.tenant()
        status, body, _ = await (await admin.customer()).post("/users", NEW)
        assert (status, "elsewhere" in body["detail"]) == (409, True)


# Operators


async def test_an_operator_has_users_of_all_tenants_and_operators(admin: Admin, door: Door, database: Database) -> None:
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    status, made, _ = await operator.post("/users", {**NEW, "tenant_id": "tenant-a"})
    assert status == 201, made
    assert (await door.log_in("bob", made["initial_password"]))[0] == 200
    status, made, _ = await operator.post("/users", {"username": "olga", "role": "operator", "password": PASSWORD})
    assert (status, made["tenant_id"]) == (201, "")
    assert [item["username"] for item in (await operator.get("/users"))[1]["items"]] == ["ada", "bob", "olga"]
    assert [item["username"] for item in (await operator.get("/users?tenant_id=tenant-a"))[1]["items"]] == [
        "ada",
        "bob",
    ]
    for wrong, status in (
        ({**NEW, "username": "x", "tenant_id": "nowhere"}, 404), ({**NEW, "username": "x"}, 422),
        ({"username": "x", "role": "operator", "tenant_id": "tenant-a"}, 422), ({**NEW, "tenant_id": "tenant-a"}, 409),
    ):  # fmt: skip
        assert (await operator.post("/users", wrong))[0] == status, wrong
    path = f"/users/{id_of(database, 'olga')}"
    assert (await operator.patch(path, {"role": "customer_admin"}))[0] == 422
    assert (await operator.patch(path, {"role": "operator_admin"}))[1]["role"] == "operator_admin"
    assert (await operator.delete(path))[0] == 409, "the last one"
    ada = f"/users/{id_of(database, 'ada')}"
    assert (await operator.patch(ada, {"disabled": True}))[0] == 200, "operators can always make another"
    assert (await operator.delete(ada))[0] == 204
    assert (await operator.get(ada))[0] == 404
    lines = judged(
        database, "SELECT action, tenant_id FROM audit_log WHERE actor LIKE 'token:operator_admin%%' ORDER BY at"
    )
    assert ("user.remove", "tenant-a") in lines


# One's own password


async def test_ones_own_password_ends_ones_other_sessions(door: Door, database: Database) -> None:
    other, mine = await door.tokens(), await door.tokens()
    caller = door.bearer(mine["access_token"])
    assert await door.status(other["access_token"]) == 200
    new = "quite another password"
    status, body, _ = await caller.post("/api/auth/password", {"current": PASSWORD, "new": new})
    assert status == 204, body
    await eventually(lambda: locked_out(door, other["access_token"]), within_s=5, what="the end of the other session")
    assert await door.status(mine["access_token"]) == 200
    assert (await door.refresh(mine["refresh_token"]))[0] == 200
    assert (await door.refresh(other["refresh_token"]))[0] == 401
    assert (await door.log_in())[0] == 401
    assert (await door.log_in(password=new))[0] == 200
    assert ("user:ada", "user.password") in judged(database, "SELECT actor, action FROM audit_log")


async def test_a_wrong_or_weak_password_changes_nothing(door: Door, admin: Admin, database: Database) -> None:
    before = judged(database, "SELECT password_hash FROM users")
    caller = door.bearer((await door.tokens())["access_token"])
    for body, field in (
        ({"current": "not this one, no", "new": "quite another password"}, "current"),
        ({"current": PASSWORD, "new": "short"}, None),
        ({"current": PASSWORD, "new": PASSWORD}, None),
        ({"current": PASSWORD}, "new"),
    ):
        status, said, _ = await caller.post("/api/auth/password", body)
        assert status == 422, said
        assert field is None or said["errors"][0]["field"] == field
    program = await admin.customer()
    good = {"current": PASSWORD, "new": "quite another password"}
    status, _, _ = await Caller(admin.client, "", program.headers).post("/api/auth/password", good)
    assert status == 403
    assert (await Caller(admin.client, "", {}).post("/api/auth/password", good))[0] == 401
    assert judged(database, "SELECT password_hash FROM users") == before
    statuses = [(await caller.post("/api/auth/password", {"current": "guess", "new": "y" * 20}))[0] for _ in range(12)]
    assert statuses[-1] == 429
