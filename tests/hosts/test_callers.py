"""Who may call what: API tokens, their roles, and the operators' audit trail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
import pytest
import pytest_asyncio
from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.identity import token_check
from pulse_postgres.identity.token_check import PREFIX
from pulse_server.web import operator
from pulse_server.web.entrance.principal import demand_role, principal
from pulse_server.web.replies import reply
from support.admin import Admin, Caller, admin_api
from support.batches import judged
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.database import Database


@pytest.fixture
def parts() -> Iterator[None]:
    """Something for operators to call, joined to their blueprint as a module's would be."""
    part = Blueprint("part", __name__)

    @part.get("/thing")
    async def thing() -> Response:
        return reply({"caller": principal().subject})

    @part.get("/secret-thing")
    async def secret_thing() -> Response:
        await demand_role([Role.OPERATOR_ADMIN])
        return reply({})

    kept = operator.blueprint._blueprints
    operator.blueprint._blueprints = [*kept, (part, {})]
    yield
    operator.blueprint._blueprints = kept


@pytest_asyncio.fixture
async def admin(parts: None, database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path) as found:
        await found.tenant()
        yield found


def with_token(caller: Caller, value: str) -> Caller:
    return Caller(caller.client, caller.prefix, {"Authorization": value})


async def test_an_operator_is_let_in_and_written_down_first(admin: Admin, database: Database) -> None:
    caller = await admin.operator()
    status, body, _ = await caller.get("/thing?limit=1")
    assert (status, body) == (200, {"caller": "token:operator of None"})
    (line,) = judged(
        database, "SELECT actor, resource, details FROM audit_log WHERE action = 'operator.access' AND tenant_id = ''"
    )
    assert line == ("token:operator of None", "GET /operator/thing", {"query": "limit=1"})


async def test_without_the_audit_log_nothing_is_shown(admin: Admin, database: Database) -> None:
    caller = await admin.operator()
    with database.superuser() as connection:
        connection.execute("ALTER TABLE audit_log ADD CHECK (action <> 'operator.access')")
    status, body, _ = await caller.get("/thing")
    assert status >= 400
    assert "caller" not in body


async def test_a_role_that_does_not_suffice_is_403(admin: Admin, database: Database) -> None:
    for role in (Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN):
        customer = await admin.customer(role=role)
        assert (await Caller(customer.client, "/operator", customer.headers).get("/thing"))[0] == 403
    assert (await (await admin.operator()).get("/secret-thing"))[0] == 403
    assert (await (await admin.operator(Role.OPERATOR_ADMIN)).get("/secret-thing"))[0] == 200
    assert len(judged(database, "SELECT FROM audit_log WHERE action = 'operator.access'")) == 2


DEATHS = {
    "revoked": "UPDATE api_tokens SET revoked_at = now() RETURNING true",
    "expired": "UPDATE api_tokens SET expires_at = now() RETURNING true",
    "gone": "DELETE FROM api_tokens RETURNING true",
}


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token is looked up each time."""
    monkeypatch.setattr(token_check, "HOLDS_S", 0.0)


async def test_whatever_is_wrong_with_a_token_looks_the_same(no_memory: None, admin: Admin, database: Database) -> None:
    caller = await admin.operator()
    good = caller.headers["Authorization"]
    stranger = PREFIX + "A" * 43
    answers = [
        await with_token(caller, value).get("/thing", headers={"X-Request-Id": "same"})
        for value in (
            f"Bearer {stranger}", f"Basic {good[7:]}", good[7:], "Bearer", "Bearer  ", "", good[:-1],
            good + "x", "Bearer é", "Bearer " + "x" * 6000,
        )
    ]  # fmt: skip
    for statement in DEATHS.values():
        assert (await caller.get("/thing"))[0] == 200
        with psycopg.connect(database.url) as connection:
            connection.execute(statement.encode())
            connection.commit()
            answers.append(await caller.get("/thing", headers={"X-Request-Id": "same"}))
            connection.execute("UPDATE api_tokens SET revoked_at = NULL, expires_at = now() + interval '1 day'")
    assert {(status, str(body), headers["WWW-Authenticate"]) for status, body, headers in answers} == {
        (401, str(answers[0][1]), 'Bearer realm="pulse"')
    }
    assert answers[0][2]["Content-Type"] == "application/problem+json"


async def test_the_use_of_a_token_is_noted_once_a_minute_and_nobody_waits_for_it(
    no_memory: None, admin: Admin, database: Database
) -> None:
    caller = await admin.operator()
    look = "SELECT last_used_at FROM api_tokens"
    assert judged(database, look) == [(None,)]
    await caller.get("/thing")
    (first,) = judged(database, look)
    assert first != (None,)
    await caller.get("/thing")
    assert judged(database, look) == [first]
    judged(database, "UPDATE api_tokens SET last_used_at = now() - interval '61 seconds' RETURNING true")
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT FROM api_tokens FOR UPDATE")
        assert (await caller.get("/thing"))[0] == 200, "somebody holds the row"
    await caller.get("/thing")
    (last,) = judged(database, look)
    assert last[0] > first[0]


@pytest.mark.parametrize("death", DEATHS)
async def test_a_token_that_was_just_used_is_refused_within_5_s_of_its_end(
    admin: Admin, database: Database, death: str
) -> None:
    caller = await admin.operator()
    assert (await caller.get("/thing"))[0] == 200
    judged(database, DEATHS[death])

    async def refused() -> bool:
        return (await caller.get("/thing"))[0] == 401

    await eventually(refused, within_s=5, what="the token's end")


async def test_a_token_is_not_looked_up_for_each_request(admin: Admin, database: Database) -> None:
    caller = await admin.operator()
    assert (await caller.get("/thing"))[0] == 200
    with database.superuser() as hand:
        hand.execute("REVOKE SELECT ON api_tokens FROM pulse_auth")
    assert (await caller.get("/thing"))[0] == 200


async def test_a_token_is_not_believed_beyond_its_expiry(admin: Admin, database: Database) -> None:
    caller = await admin.operator()
    judged(database, "UPDATE api_tokens SET expires_at = now() + interval '0.5 seconds' RETURNING true")
    assert (await caller.get("/thing"))[0] == 200

    async def refused() -> bool:
        return (await caller.get("/thing"))[0] == 401

    began = time.monotonic()
    await eventually(refused, within_s=5, what="the token's end")
    assert time.monotonic() - began < token_check.HOLDS_S - 0.2


async def test_only_the_hash_of_a_token_is_kept(admin: Admin, database: Database) -> None:
    token = (await admin.operator()).headers["Authorization"].removeprefix("Bearer ")
    for table in ("api_tokens", "audit_log"):
        assert token not in str(judged(database, f"SELECT to_jsonb(t)::text FROM {table} t"))
