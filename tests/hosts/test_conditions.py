"""ETag, If-Match, If-None-Match on what people edit; and edits at once, which lose nothing of each other."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pulse_core.principal import Role
from support.batches import judged
from support.told import a_delivery, an_attempt

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK: dict[str, Any] = {"name": "n", "config": {"url": "https://example.com/hook", "secret": SECRET}}
NOBODY = uuid.UUID(int=1)


class Thing(NamedTuple):
    """Something that people edit: who may, where, how, and what a POST of it answered."""

    caller: Caller
    path: str
    edit: dict[str, Any]
    method: str = "PATCH"
    made: Any = None
    other: Any = "y"

    async def change(self, if_match: str | None = None, **edit: Any) -> tuple[int, Any, Any]:
        headers = {} if if_match is None else {"If-Match": if_match}
        return await self.caller.call(self.method, self.path, edit or self.edit, headers=headers)

    async def tag(self) -> str:
        return str((await self.caller.get(self.path))[2]["ETag"])


async def integration(admin: Admin) -> Thing:
    customer = await admin.customer()
    made = await customer.post("/integrations", HOOK)
    return Thing(customer, f"/integrations/{made[1]['integration_id']}", {"name": "x"}, made=made)


async def route(admin: Admin) -> Thing:
    hook = await integration(admin)
    made = await hook.caller.post("/integration-routes", {"integration_id": hook.made[1]["integration_id"]})
    return Thing(hook.caller, f"/integration-routes/{made[1]['route_id']}", {"name": "x"}, made=made)


async def tenant(admin: Admin) -> Thing:
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    made = await operator.post("/tenants", {"tenant_id": "tenant-z"})
    return Thing(operator, "/tenants/tenant-z", {"name": "x"}, made=made)


async def settings(admin: Admin) -> Thing:
    return Thing(await admin.operator(Role.OPERATOR_ADMIN), "/settings", {"RATE_LIMIT_RPS": 7}, "POST", other=8)


async def own_settings(admin: Admin) -> Thing:
    return Thing(await admin.customer(), "/settings", {"stale_after_s": 7}, other=8)


async def user(admin: Admin) -> Thing:
    customer = await admin.customer()
    made = await customer.post("/users", {"username": "bob", "role": "customer_viewer"})
    return Thing(customer, f"/users/{made[1]['user_id']}", {"email": "x@example.com"}, made=made, other="y@example.com")


async def metric(admin: Admin) -> Thing:
    customer = await admin.customer()
    made = await customer.call("PUT", "/metrics/celsius", {"unit": "K"})
    return Thing(customer, "/metrics/celsius", {"unit": "x"}, "PUT", made=made)


KINDS = {
    "integration": integration,
    "route": route,
    "tenant": tenant,
    "settings": settings,
    "user": user,
    "metric": metric,
    "own settings": own_settings,
}


@pytest.fixture(params=KINDS)
async def thing(admin: Admin, request: pytest.FixtureRequest) -> Thing:
    return await KINDS[request.param](admin)


async def test_an_edit_goes_on_from_what_its_caller_saw(thing: Thing) -> None:
    first = await thing.tag()
    if thing.made:
        assert thing.made[2]["ETag"] == first
    status, changed, headers = await thing.change(first)
    assert status == 200
    second = headers["ETag"]
    assert (second != first, await thing.tag()) == (True, second)
    for stale in (first, f'"nothing", {first}', f"W/{second}", '"0"', '"99999999999999999999"', '""'):
        status, problem, _ = await thing.change(stale, **dict.fromkeys(thing.edit, thing.other))
        assert (status, problem["title"]) == (412, "Precondition Failed"), stale
    changed.pop("initial_password", None)  # shown in answers to edits alone
    assert (await thing.caller.get(thing.path))[1] == changed
    for fresh in ("{}", '"nothing", {}', "*", None):
        now = await thing.tag()
        assert (await thing.change(fresh and fresh.format(now)))[0] == 200, fresh


async def test_what_is_known_is_not_sent_again(thing: Thing) -> None:
    tag = await thing.tag()
    for known in (tag, f"W/{tag}", f'"x",{tag}', "*"):
        status, body, headers = await thing.caller.get(thing.path, headers={"If-None-Match": known})
        assert (status, body, headers["ETag"]) == (304, b"", tag), known
    assert (await thing.change())[0] == 200
    status, body, headers = await thing.caller.get(thing.path, headers={"If-None-Match": tag})
    assert (status, headers["ETag"] != tag, bool(body)) == (200, True, True)


@pytest.mark.parametrize("header", ["1", "abc", '"1', '1"', '"a" "b"', "*, *", '"1", *', 'w/"1"', '"a\tb"', ",", ""])
async def test_what_is_no_condition_is_refused(thing: Thing, header: str) -> None:
    before = await thing.caller.get(thing.path)
    assert (await thing.change(header))[0] == 400
    assert (await thing.caller.get(thing.path, headers={"If-None-Match": header}))[0] == 400
    assert (await thing.caller.get(thing.path))[1] == before[1]


async def test_of_many_that_saw_the_same_one_edits(thing: Thing) -> None:
    tag = await thing.tag()
    answers = await asyncio.gather(*[thing.change(tag) for _ in range(12)])
    assert sorted(status for status, _, _ in answers) == [200, *[412] * 11]


@pytest.mark.parametrize("kind", ["integration", "route", "tenant", "user"])
async def test_a_stale_deletion_deletes_nothing(admin: Admin, database: Database, kind: str) -> None:
    thing = await KINDS[kind](admin)
    stale = await thing.tag()
    await thing.change(None, **({"status": "SUSPENDED"} if kind == "tenant" else thing.edit))
    judged(database, "UPDATE tenants SET suspended_at = now() - interval '1 h' RETURNING true")
    path = f"{thing.path}?confirm=tenant-z" if kind == "tenant" else thing.path
    assert (await thing.caller.delete(path, headers={"If-Match": stale}))[0] == 412
    assert (await thing.caller.get(thing.path))[0] == 200
    fresh = await thing.tag()
    assert (await thing.caller.delete(path, headers={"If-Match": fresh}))[0] in {200, 204}
    for if_match in (fresh, "*"):
        assert (await thing.caller.delete(path, headers={"If-Match": if_match}))[0] == 404


async def test_a_device_is_edited_on_condition_by_customers_and_with_the_admin_key(admin: Admin) -> None:
    await admin.device("dev-1")
    for caller, path in ((await admin.customer(), "/devices/dev-1"), (admin, "/devices/tenant-a/dev-1")):
        stale = (await caller.get(path))[2]["ETag"]
        status, changed, headers = await caller.patch(path, {"name": path}, headers={"If-Match": stale})
        assert (status, changed["name"]) == (200, path)
        assert (await caller.patch(path, {"name": "x"}, headers={"If-Match": stale}))[0] == 412
        assert (await caller.patch(path, {"name": "y"}, headers={"If-Match": headers["ETag"]}))[0] == 200
        assert (await caller.get(path))[1]["name"] == "y"


async def test_what_a_list_shows_can_be_edited_on_condition(admin: Admin) -> None:
    for kind, path in (("integration", "/integrations"), ("route", "/integration-routes"), ("tenant", "/tenants")):
        thing = await KINDS[kind](admin)
        items = (await thing.caller.get(path))[1]["items"]
        assert {each["revision"] for each in items} == {1}
        assert (await thing.change('"1"'))[1]["revision"] == 2
        assert (await thing.change('"1"'))[0] == 412


async def test_health_is_in_the_tag_and_not_in_the_way(admin: Admin, database: Database) -> None:
    """A 304 must not hide that an integration began to fail; and that it did is no reason not to edit it."""
    thing = await integration(admin)
    tag = await thing.tag()
    failed = a_delivery(database, uuid.UUID(thing.made[1]["integration_id"]), "RETRYING")
    an_attempt(database, failed, 1, "TEMPORARY", detail="answered 503")
    status, body, headers = await thing.caller.get(thing.path, headers={"If-None-Match": tag})
    assert (status, body["health"]["attempts_24h"], headers["ETag"] != tag) == (200, 1, True)
    assert (await thing.change(tag))[0] == 200


async def test_anothers_id_is_like_one_that_does_not_exist(admin: Admin) -> None:
    await admin.tenant("tenant-b")
    other = await admin.customer("tenant-b")
    for kind in (integration, route):
        thing = await kind(admin)
        for if_match in ("*", '"1"', '"2"'):
            answers = []
            for path in (thing.path, f"{thing.path.rpartition('/')[0]}/{NOBODY}"):
                for method, body in (("PATCH", thing.edit), ("DELETE", None)):
                    headers = {"If-Match": if_match, "X-Request-Id": "same"}
                    status, said, _ = await other.call(method, path, body, headers=headers)
                    answers.append((status, said))
            assert answers[:2] == answers[2:]
            assert {status for status, _ in answers} == {404}


async def test_edits_at_once_lose_nothing_of_each_other(admin: Admin) -> None:
    thing = await integration(admin)
    headers = {f"X-{number}": f"secret {number}" for number in range(12)}
    edits = [thing.change(None, config={"headers": {name: value}}) for name, value in headers.items()]
    assert {status for status, _, _ in await asyncio.gather(*edits)} == {200}
    _, body, _ = await thing.caller.get(thing.path)
    assert set(body["config"]["headers"]) == set(headers)
    assert body["revision"] == 13

    thing = await route(admin)
    fields = {"name": "n", "priority": 5, "min_severity": 2, "enabled": False, "fallback_after_s": 9,
              "alert_types": ["A"], "site_ids": ["s"], "device_prefixes": ["d"]}  # fmt: skip
    edits = [thing.change(None, **{name: value}) for name, value in fields.items()]
    assert {status for status, _, _ in await asyncio.gather(*edits)} == {200}
    _, body, _ = await thing.caller.get(thing.path)
    assert body | fields == body
    assert body["revision"] == 9


async def test_editing_a_route_while_its_integration_goes_is_no_deadlock(admin: Admin) -> None:
    for _ in range(5):
        thing = await route(admin)
        hook = f"/integrations/{thing.made[1]['integration_id']}"
        edits = [thing.change(None, priority=number) for number in range(8)]
        (gone, *_), *changed = await asyncio.gather(thing.caller.delete(hook), *edits)
        assert gone == 204
        assert {status for status, _, _ in changed} <= {200, 404}


async def test_what_counts_as_an_edit(admin: Admin, database: Database) -> None:
    """Whoever edits: the engine that disables an integration, too. Not an edit: tokens, secrets encrypted anew."""
    thing = await integration(admin)
    await admin.device("dev-1")
    customer = await admin.customer()
    revisions = "SELECT i.revision, d.revision FROM integrations i, devices d"
    for statement, expected in (
        ("UPDATE integrations SET secrets = 'anew' RETURNING true", (1, 1)),
        ("UPDATE devices SET token_hash = sha256('x'), updated_at = now() RETURNING true", (1, 1)),
        ("UPDATE integrations SET enabled = false, disabled_reason = '410' RETURNING true", (2, 1)),
        ('UPDATE devices SET labels = \'{"a": "b"}\' RETURNING true', (2, 2)),
        ("UPDATE devices SET revision = 7 RETURNING true", (2, 7)),
    ):
        judged(database, statement)
        assert judged(database, revisions) == [expected], statement
    assert (await thing.change('"2"', enabled=True))[1]["revision"] == 3
    status, device, headers = await customer.get("/devices/dev-1")
    assert (status, device["revision"], headers["ETag"].partition(".")[0]) == (200, 7, '"7')
    known = {"If-None-Match": headers["ETag"]}
    assert (await customer.get("/devices/dev-1", headers=known))[0] == 304
