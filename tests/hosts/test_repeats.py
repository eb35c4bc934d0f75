"""Idempotency-Key: what is asked for twice is done once, and answered twice."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pulse_core.principal import Role
from pulse_core.secrets import SecretBox
from pulse_postgres.identity import token_check
from pulse_postgres.pool import open_pool
from pulse_postgres.request_keys import forget
from pulse_server.web.around import repeats
from support.admin import KEY, Admin, Caller, served
from support.batches import judged
from support.told import a_delivery
from support.waiting import until

if TYPE_CHECKING:
    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK: dict[str, Any] = {"name": "on call", "config": {"url": "https://example.com/hook", "secret": SECRET}}
MADE = "SELECT integration_id FROM integrations ORDER BY created_at"
KEYS = "SELECT tenant_id, subject, key, answer IS NOT NULL FROM request_keys ORDER BY 1, 2, 3"
# Lets the answer of the first request be kept only when nobody holds this lock.
HELD = """
    CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END';
    CREATE TRIGGER held BEFORE UPDATE ON request_keys FOR EACH ROW EXECUTE FUNCTION held()
"""


async def again(
    caller: Caller, path: str = "/integrations", body: Any = HOOK, key: str = "k-1"
) -> tuple[int, Any, Any]:
    return await caller.post(path, body, headers={"Idempotency-Key": key})


async def test_the_second_answer_is_the_first_one(customer: Caller, database: Database) -> None:
    first = await again(customer)
    second = await again(customer)
    assert first[0] == 201
    assert second[:2] == first[:2]
    assert second[2]["ETag"] == first[2]["ETag"]
    assert second[2]["Content-Type"] == first[2]["Content-Type"]
    assert ("Idempotency-Replayed" in first[2], second[2]["Idempotency-Replayed"]) == (False, "true")
    assert len(judged(database, MADE)) == 1
    other = await again(customer, key="k-2")
    assert other[1]["integration_id"] != first[1]["integration_id"]
    assert (await customer.post("/integrations", HOOK))[0] == 201
    assert len(judged(database, MADE)) == 3
    assert [row[2:] for row in judged(database, KEYS)] == [("k-1", True), ("k-2", True)]


async def test_twenty_at_once_make_one_and_are_answered_alike(customer: Caller, database: Database) -> None:
    answers = await asyncio.gather(*[again(customer) for _ in range(20)])
    assert {(status, json.dumps(body)) for status, body, _ in answers} == {(201, json.dumps(answers[0][1]))}
    assert sum("Idempotency-Replayed" in headers for _, _, headers in answers) == 19
    assert len(judged(database, MADE)) == 1
    assert judged(database, "SELECT count(*) FROM audit_log WHERE action = 'integration.create'") == [(1,)]


async def test_a_key_belongs_to_one_request(customer: Caller, database: Database) -> None:
    assert (await again(customer))[0] == 201
    for path, body in (
        ("/integrations", {**HOOK, "name": "another"}),
        ("/integrations?type=webhook", HOOK),
        ("/integrations/webhook", HOOK),
        ("/integrations", {}),
        (f"/alerts/{uuid.uuid4()}/acknowledge", None),
    ):
        status, problem, headers = await again(customer, path, body)
        assert (status, headers["Content-Type"]) == (422, "application/problem+json")
        assert "another request" in problem["detail"]
    assert len(judged(database, MADE)) == 1


async def test_a_key_is_its_callers_own(admin: Admin, customer: Caller, database: Database) -> None:
    """Another tenant, an operator and the admin key may use the same key, and notice nothing."""
    await admin.tenant("tenant-b")
    other, operator = await admin.customer("tenant-b"), await admin.operator(Role.OPERATOR_ADMIN)
    mine = await again(customer)
    theirs = await again(other)
    assert (theirs[0], theirs[1]["tenant_id"]) == (201, "tenant-b")
    assert "Idempotency-Replayed" not in theirs[2]
    made = await again(operator, "/tenants", {"tenant_id": "tenant-c"})
    also = await again(admin, "/tenants", {"tenant_id": "tenant-d"})
    assert (made[0], also[0]) == (201, 201)
    for caller, path, body, first in (
        (customer, "/integrations", HOOK, mine),
        (other, "/integrations", HOOK, theirs),
        (operator, "/tenants", {"tenant_id": "tenant-c"}, made),
        (admin, "/tenants", {"tenant_id": "tenant-d"}, also),
    ):
        repeated = await again(caller, path, body)
        assert repeated[:2] == first[:2]
        assert repeated[2]["Idempotency-Replayed"] == "true"
    assert [row[:2] for row in judged(database, KEYS)] == [
        ("", "admin-key"),
        ("", "token:operator_admin of None"),
        ("tenant-a", "token:customer_admin of tenant-a"),
        ("tenant-b", "token:customer_admin of tenant-b"),
    ]
    assert len(judged(database, "SELECT FROM audit_log WHERE action = 'operator.access'")) == 2, "each look is noted"


async def test_what_changed_nothing_leaves_the_key_free(customer: Caller, database: Database) -> None:
    for path, body, expected in (
        ("/integrations", {**HOOK, "config": {}}, 422),
        ("/integration-routes", {"integration_id": str(uuid.uuid4())}, 404),
        (f"/deliveries/{uuid.uuid4()}/replay", None, 404),
        ("/nowhere", {}, 404),
        ("/deliveries/replay", {}, 200),
    ):
        assert (await again(customer, path, body))[0] == expected
    with database.superuser() as hand:
        hand.execute("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (action <> 'integration.create')")
        assert (await again(customer))[0] == 503
        hand.execute("ALTER TABLE audit_log DROP CONSTRAINT full_disk")
    assert judged(database, KEYS) == []
    status, _, headers = await again(customer)
    assert (status, "Idempotency-Replayed" in headers) == (201, False)


async def test_every_kind_of_deed_is_done_once(admin: Admin, customer: Caller, database: Database) -> None:
    made = (await again(customer))[1]["integration_id"]
    sent = a_delivery(database, uuid.UUID(made))
    waiting = a_delivery(database, uuid.UUID(made), "PENDING")
    await admin.device("dev-1")
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    deeds: list[tuple[Caller, str, Any]] = [
        (customer, "/integration-routes", {"integration_id": made}),
        (customer, f"/deliveries/{sent}/replay", None),
        (customer, f"/deliveries/{waiting}/cancel", None),
        (operator, "/settings", {"RATE_LIMIT_RPS": 7}),
        (admin, "/devices", {"tenant_id": "tenant-a", "device_id": "dev-2", "site_id": "s"}),
        (admin, "/devices/tenant-a/dev-1/activate-code", None),
        (admin, "/devices/dev-1/activate-code", None),
        (admin, "/integrations", {"tenant_id": "tenant-a", "type": "webhook", **HOOK}),
    ]
    for number, (caller, path, body) in enumerate(deeds):
        first = await again(caller, path, body, f"deed-{number}")
        assert first[0] in {200, 201}, (path, first[1])
        second = await again(caller, path, body, f"deed-{number}")
        assert second[:2] == first[:2], path
        assert second[2]["Idempotency-Replayed"] == "true", path


async def test_an_answer_that_was_not_kept_is_lost_and_the_deed_is_not_done_again(
    customer: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "WAIT_S", 0.2)
    with database.superuser() as hand:
        hand.execute("REVOKE UPDATE (answer) ON request_keys FROM pulse_web")
    assert (await again(customer))[0] == 201, "it was done, and whoever asked is told so"
    status, problem, headers = await again(customer)
    assert (status, problem["title"], headers["Retry-After"]) == (409, "Conflict", "5")
    judged(database, "UPDATE request_keys SET made_at = now() - interval '2 min' RETURNING true")
    status, problem, _ = await again(customer)
    assert (status, "its answer is lost" in problem["detail"]) == (409, True)
    assert len(judged(database, MADE)) == 1
    assert (await again(customer, body={**HOOK, "name": "another"}))[0] == 422


async def test_whoever_comes_while_it_is_not_answered_yet_waits_for_the_answer(
    customer: Caller, database: Database
) -> None:
    with database.superuser() as hand:
        hand.execute(HELD)
        hand.execute("SELECT pg_advisory_lock(4711)")
        first = asyncio.create_task(again(customer))
        await until(lambda: judged(database, MADE), what="the deed")
        second = asyncio.create_task(again(customer))
        await asyncio.sleep(0.3)
        assert not second.done()
        hand.execute("SELECT pg_advisory_unlock(4711)")
    assert (await first)[:2] == (await second)[:2]
    assert (await second)[2]["Idempotency-Replayed"] == "true"


async def test_whoever_hung_up_finds_the_answer_when_it_comes_back(
    admin: Admin, customer: Caller, database: Database
) -> None:
    headers = {**customer.headers, "Idempotency-Key": "k-1"}
    async with served(admin) as url, aiohttp.ClientSession(url) as http:
        with database.superuser() as hand:
            hand.execute(HELD)
            hand.execute("SELECT pg_advisory_lock(4711)")
            asking = asyncio.create_task(http.post("/customer/integrations", json=HOOK, headers=headers))
            await until(lambda: judged(database, MADE), what="the deed")
            asking.cancel()
            await asyncio.wait({asking})
            await asyncio.sleep(0.2)
            hand.execute("SELECT pg_advisory_unlock(4711)")
        async with http.post("/customer/integrations", json=HOOK, headers=headers) as answer:
            assert (answer.status, answer.headers["Idempotency-Replayed"]) == (201, "true")
            assert [(await answer.json())["integration_id"]] == [str(row[0]) for row in judged(database, MADE)]


async def test_nobody_is_let_in_by_a_key(
    admin: Admin, customer: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered once is for whoever may ask now: not for a revoked token, nor of a suspended tenant."""
    monkeypatch.setattr(token_check, "HOLDS_S", 0.0)
    assert (await again(customer))[0] == 201
    judged(database, "UPDATE tenants SET status = 'SUSPENDED' RETURNING true")
    assert (await again(customer))[0] == 401
    judged(database, "UPDATE tenants SET status = 'ACTIVE' RETURNING true")
    assert (await again(customer))[:1] == (201,)
    judged(database, "UPDATE api_tokens SET revoked_at = now() RETURNING true")
    status, body, headers = await again(customer)
    assert (status, "Idempotency-Replayed" in headers, "integration_id" in body) == (401, False, False)
    assert (await again(admin, "/tenants", {"tenant_id": "t"}))[0] == 201
    status, _, _ = await admin.post("/tenants", {"tenant_id": "t"}, key=f"{KEY}x", headers={"Idempotency-Key": "k-1"})
    assert status == 401


async def test_no_secret_stands_in_what_is_kept(admin: Admin, customer: Caller, database: Database) -> None:
    await admin.device()
    await again(customer)
    code = (await again(admin, "/devices/tenant-a/dev-1/activate-code", None))[1]["code"]
    stored = judged(database, "SELECT encode(request, 'escape'), encode(answer, 'escape') FROM request_keys")
    written = json.dumps([*stored, *judged(database, "SELECT to_jsonb(a)::text FROM audit_log a")])
    assert len(stored) == 2
    for secret in (SECRET, code, "on call"):
        assert secret not in written
    box = SecretBox(database.secret_key)
    opened = [box.open(row[0])["body"] for row in judged(database, "SELECT answer FROM request_keys")]
    assert any(code in body for body in opened), "the control: it is in there"
    assert SECRET not in str(opened)


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 256, "\u00e9", "a\tb", "\x7f"])
async def test_what_cannot_be_a_key_is_refused(customer: Caller, database: Database, key: str) -> None:
    status, problem, _ = await again(customer, key=key)
    assert (status, "Idempotency-Key" in problem["detail"]) == (400, True)
    assert judged(database, MADE) == []


async def test_two_keys_are_none_and_the_longest_is_one(customer: Caller, database: Database) -> None:
    both = [*customer.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    response = await customer.client.post("/customer/integrations", json=HOOK, headers=both)
    assert response.status_code == 400
    longest = "".join(map(chr, range(0x21, 0x7F))).ljust(255, "x")
    assert (await again(customer, key=longest))[0] == 201
    assert (await again(customer, key=longest))[2]["Idempotency-Replayed"] == "true"


async def test_where_a_key_means_nothing_it_is_not_looked_at(
    admin: Admin, customer: Caller, database: Database
) -> None:
    made = (await again(customer))[1]
    headers = {"Idempotency-Key": "a b"}
    assert (await customer.get("/integrations", headers=headers))[0] == 200
    path = f"/integrations/{made['integration_id']}"
    assert (await customer.patch(path, {"name": "x"}, headers=headers))[0] == 200
    assert (await customer.delete(path, headers=headers))[0] == 204
    stranger = Caller(admin.client, "", {})
    assert (await again(stranger, "/api/auth/token", {"username": "a", "password": "b"}))[0] == 401
    assert len(judged(database, KEYS)) == 1


async def test_after_a_day_keys_are_forgotten_in_steps(customer: Caller, database: Database) -> None:
    judged(
        database,
        "INSERT INTO request_keys (tenant_id, subject, key, request, made_at)"
        " SELECT 'tenant-a', 's', n::text, '', now() - interval '23 h 5 min' - n * interval '10 min'"
        " FROM generate_series(1, 20) n RETURNING true",
    )
    await again(customer)
    pool = await open_pool(database.dsn("pulse_admin"), name="test", max_size=1)
    assert [await forget(pool, step=3), await forget(pool, step=3)] == [15, 0]
    await pool.close()
    assert judged(database, "SELECT count(*) FROM request_keys") == [(6,)]
    assert (await again(customer))[2]["Idempotency-Replayed"] == "true"


async def test_with_another_secret_key_the_answer_is_lost_and_nothing_is_done(
    customer: Caller, database: Database
) -> None:
    await again(customer)
    other = SecretBox("another secret key of 32 characters").seal({"sha256": "x"})
    judged(database, "UPDATE request_keys SET request = %s RETURNING true", other)
    assert (await again(customer))[0] == 409
    assert len(judged(database, MADE)) == 1
