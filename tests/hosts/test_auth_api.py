"""Logging in over HTTP: tokens, the next ones, the end of them, and what strangers learn (nothing)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from argon2 import PasswordHasher

from pulse_core.principal import Role
from support.batches import judged
from support.people import PASSWORD, Door, hashed, person

if TYPE_CHECKING:
    from pulse_server.web.services import Services
    from support.admin import Admin
    from support.database import Database


@pytest.fixture
def door(admin: Admin, database: Database) -> Door:
    person(database)
    return Door(admin.client)


def change(database: Database, statement: str) -> None:
    with database.superuser() as connection:
        assert connection.execute(statement.encode()).rowcount >= 1


async def test_a_password_buys_tokens_that_open_the_customer_api(door: Door, database: Database) -> None:
    tokens = await door.tokens("Ada")
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    status, body, _ = await door.bearer(tokens["access_token"]).get("/api/auth/status")
    assert (status, body) == (
        200,
        {"subject": "user:ada", "role": "customer_admin", "tenant_id": "tenant-a", "email": "ada@example.com"},
    )
    customer = door.bearer(tokens["access_token"], "/customer")
    wanted = {"name": "hook", "config": {"url": "http://203.0.113.7/hook", "secret": "whsec_" + "A" * 32}}
    status, body, _ = await customer.post("/integrations", wanted)
    assert status == 201, body
    assert ("user:ada", "integration.create") in judged(database, "SELECT actor, action FROM audit_log")
    assert (await door.bearer(tokens["access_token"], "/operator").get("/ledger"))[0] == 403


async def test_the_claims_are_those_of_the_contract(door: Door) -> None:
    token = (await door.tokens())["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "tenant_id", "role", "email", "sid", "jti"}
    assert (claims["aud"], claims["iss"]) == ("pulse", "http://127.0.0.1:8080")
    assert (claims["tenant_id"], claims["role"], claims["email"]) == ("tenant-a", "customer_admin", "ada@example.com")
    assert claims["exp"] - claims["iat"] == 900
    assert abs(claims["iat"] - time.time()) < 5


async def test_an_operator_logs_in_and_is_written_down(door: Door, database: Database) -> None:
    person(database, "olga", Role.OPERATOR, "")
    token = (await door.tokens("olga"))["access_token"]
    assert (await door.bearer(token, "/operator").get("/ledger"))[0] == 200
    assert judged(database, "SELECT actor FROM audit_log WHERE action = 'operator.access'") == [("user:olga",)]
    assert (await door.bearer(token, "/customer").get("/integrations"))[0] == 403


async def test_status_answers_api_tokens_too(door: Door, admin: Admin) -> None:
    caller = await admin.customer()
    token = caller.headers["Authorization"].removeprefix("Bearer ")
    status, body, _ = await door.bearer(token).get("/api/auth/status")
    assert (status, body["subject"], body["email"]) == (200, "token:customer_admin of tenant-a", None)
    assert await door.status("nonsense") == 401


REFUSED = {
    "wrong password": ("ada", "wrong", None),
    "nobody": ("nobody", PASSWORD, None),
    "not a name": ("../../Ada \U0001f600", PASSWORD, None),
    "disabled": ("ada", PASSWORD, "UPDATE users SET disabled_at = now()"),
    "suspended": ("ada", PASSWORD, "UPDATE tenants SET status = 'SUSPENDED'"),
    "no tenant": ("ada", PASSWORD, "DELETE FROM tenants"),
    "a broken hash": ("ada", PASSWORD, "UPDATE users SET password_hash = 'x'"),
}


async def test_whoever_is_refused_is_told_the_same(door: Door, database: Database) -> None:
    answers = []
    for username, password, first in REFUSED.values():
        with database.superuser() as connection:
            connection.execute("INSERT INTO tenants VALUES ('tenant-a') ON CONFLICT DO NOTHING")
            connection.execute("UPDATE tenants SET status = 'ACTIVE'")
            connection.execute("UPDATE users SET disabled_at = NULL, password_hash = %s", (hashed(),))
            if first:
                assert connection.execute(first.encode()).rowcount == 1
        status, body, headers = await door.ask(
            "token", {"username": username, "password": password}, headers={"X-Request-Id": "same"}
        )
        answers.append((status, body, tuple(headers.items())))
    assert answers == [answers[0]] * len(REFUSED)
    assert answers[0][0] == 401


async def test_a_name_that_nobody_has_takes_as_long(door: Door, database: Database) -> None:
    async def seconds(username: str) -> float:
        began = time.perf_counter()
        assert (await door.log_in(username, "wrong"))[0] == 401
        return time.perf_counter() - began

    known, unknown = [], []
    for attempt in range(4):
        known.append(await seconds("ada"))
        unknown.append(await seconds(f"nobody-{attempt}"))
    assert 0.5 < min(known) / min(unknown) < 2, (known, unknown)
    assert min(unknown) > 0.02, "argon2 was not run"


@pytest.mark.parametrize(
    "body",
    [
        {"username": "ada"},
        {"username": "ada", "password": ""},
        {"username": "ada", "password": "x" * 1025},
        {"username": "a" * 65, "password": "x"},
        {"username": "ada", "password": 7},
        {"username": "ada", "password": "x", "role": "operator"},
        [],
    ],
)
async def test_what_is_no_login_is_422_and_never_repeated(door: Door, body: Any) -> None:
    status, answer, _ = await door.ask("token", body)
    assert status == 422
    assert "xxxx" not in str(answer)


async def test_guessing_is_slowed_down_by_name_and_by_address(door: Door) -> None:
    tried = await wrong_until_refused(door, ["ada"] * 30)
    assert 10 <= tried < 30, "one more is granted every six seconds, however long the tries take"
    assert (await door.log_in())[0] == 429, "the right password is not asked for either"
    assert 0 < await wrong_until_refused(door, [f"nobody-{n}" for n in range(60)]) < 60


async def wrong_until_refused(door: Door, names: list[str]) -> int:
    """How many wrong passwords were looked at before the first that was not."""
    for tried, name in enumerate(names):
        status, _, headers = await door.log_in(name, "wrong")
        if status == 429:
            assert 1 <= int(headers["Retry-After"]) <= 6
            return tried
        assert status == 401
    return len(names)


async def test_failures_are_counted_until_the_next_login(door: Door, database: Database) -> None:
    from support.waiting import until

    look = "SELECT failed_logins, last_failed_at IS NOT NULL, last_login_at IS NOT NULL FROM users"
    for _ in range(2):
        await door.log_in("ada", "wrong")
    await until(lambda: judged(database, look) == [(2, True, False)], what="both failures noted")
    await door.tokens()
    assert judged(database, look) == [(0, True, True)]


async def test_an_outdated_hash_is_replaced_at_login(door: Door, database: Database) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    person(database, "eve", password_hash=old)
    await door.tokens("eve")
    ((new,),) = judged(database, "SELECT password_hash FROM users WHERE username = 'eve'")
    assert new.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    await door.tokens("eve")
    assert judged(database, "SELECT password_hash FROM users WHERE username = 'eve'") == [(new,)]


# Refresh tokens


async def test_a_refresh_token_buys_the_next_pair_once(door: Door, database: Database) -> None:
    first = await door.tokens()
    status, second, _ = await door.refresh(first["refresh_token"])
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    assert await door.status(second["access_token"]) == 200
    status, third, _ = await door.refresh(second["refresh_token"])
    assert status == 200
    assert (await door.refresh(second["refresh_token"]))[0] == 401
    assert (await door.refresh(third["refresh_token"]))[0] == 401, "the whole family has ended"
    reuse = judged(database, "SELECT actor, tenant_id FROM audit_log WHERE action = 'session.reuse'")
    assert reuse == [("user:ada", "tenant-a")]


async def test_of_two_that_show_it_at_once_one_wins_and_the_family_ends(door: Door) -> None:
    tokens = await door.tokens()
    answers = await asyncio.gather(*(door.refresh(tokens["refresh_token"]) for _ in range(4)))
    assert sorted(status for status, _, _ in answers) == [200, 401, 401, 401]
    (won,) = [body for status, body, _ in answers if status == 200]
    assert (await door.refresh(won["refresh_token"]))[0] == 401


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET renewed_at = now() - interval '12 hours'",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE sessions SET ended_at = now()",
        "UPDATE users SET disabled_at = now()",
        "UPDATE tenants SET status = 'SUSPENDED'",
        "DELETE FROM refresh_tokens",
        "DELETE FROM users",
    ],
)
async def test_what_ends_a_session_ends_its_refresh_token(door: Door, database: Database, statement: str) -> None:
    tokens = await door.tokens()
    change(database, statement)
    assert (await door.refresh(tokens["refresh_token"]))[0] == 401


async def test_sessions_last_seven_days_at_most(door: Door, database: Database) -> None:
    tokens = await door.tokens()
    ((ends,),) = judged(database, "SELECT expires_at FROM sessions")
    assert judged(database, "SELECT expires_at - created_at = interval '7 days' FROM sessions") == [(True,)]
    assert (await door.refresh(tokens["refresh_token"]))[0] == 200
    assert judged(database, "SELECT expires_at FROM sessions") == [(ends,)]


async def test_sessions_that_are_over_go_at_the_next_login(door: Door, database: Database) -> None:
    await door.tokens()
    change(database, "UPDATE sessions SET ended_at = now()")
    await door.tokens()
    assert judged(database, "SELECT count(*) FROM sessions") == [(1,)]
    assert judged(database, "SELECT count(*) FROM refresh_tokens") == [(1,)]


@pytest.mark.parametrize("shown", ["x", "pulser_" + "A" * 43, "pulse_" + "A" * 43, "pulser_\0", "é", "pulser_\ud800"])
async def test_what_is_no_refresh_token_is_refused(door: Door, shown: str) -> None:
    assert (await door.refresh(shown))[0] in {400, 401, 422}
    assert (await door.ask("logout", {"refresh_token": shown}))[0] in {204, 400, 422}


async def test_neither_passwords_nor_tokens_are_kept(door: Door, database: Database) -> None:
    tokens = await door.tokens()
    for table in ("users", "sessions", "refresh_tokens", "signing_keys", "audit_log"):
        kept = str(judged(database, f"SELECT to_jsonb(t)::text FROM {table} t"))
        for secret in (PASSWORD, tokens["access_token"], tokens["refresh_token"]):
            assert secret not in kept, table


# The end of access


ENDS = {
    "disabled": "UPDATE users SET disabled_at = now()",
    "suspended": "UPDATE tenants SET status = 'SUSPENDED'",
    "another role": "UPDATE users SET role = 'customer_viewer'",
    "session ended": "UPDATE sessions SET ended_at = now()",
    "deleted": "DELETE FROM users",
}


@pytest.mark.parametrize("statement", ENDS.values(), ids=ENDS)
async def test_access_ends_within_5_seconds_though_the_token_is_good(
    door: Door, database: Database, statement: str
) -> None:
    token = (await door.tokens())["access_token"]
    assert await door.status(token) == 200
    change(database, statement)
    began = time.monotonic()
    while await door.status(token) == 200:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.05)
    assert await door.status(token) == 401


async def test_a_password_that_is_changed_during_the_login_opens_no_session(
    door: Door, admin: Admin, database: Database
) -> None:
    services: Services = admin.client.app.extensions["services"]
    (provider,) = services.providers.all
    for statement in ("UPDATE users SET password_hash = 'new'", "UPDATE users SET disabled_at = now()"):
        login = await provider.verify_password("ada", PASSWORD)
        assert login is not None
        change(database, statement)
        assert await provider.issue(login) is None
        change(database, f"UPDATE users SET disabled_at = NULL, password_hash = '{hashed()}'")
    assert judged(database, "SELECT FROM sessions") == []


async def test_logging_out_ends_the_session_and_tells_nobody(door: Door, database: Database) -> None:
    tokens = await door.tokens()
    other = await door.tokens()
    assert (await door.ask("logout", {"refresh_token": tokens["refresh_token"]}))[0] == 204
    assert (await door.ask("logout", {"refresh_token": tokens["refresh_token"]}))[0] == 204
    assert await door.status(tokens["access_token"]) == 401, "never seen before, so not believed for 2 s"
    assert (await door.refresh(tokens["refresh_token"]))[0] == 401
    assert await door.status(other["access_token"]) == 200
    assert judged(database, "SELECT count(*) FROM audit_log WHERE action = 'user.logout'") == [(1,)]


async def test_the_check_of_a_known_token_takes_microseconds(door: Door, admin: Admin) -> None:
    token = (await door.tokens())["access_token"]
    services: Services = admin.client.app.extensions["services"]
    assert await services.providers.principal(token)
    times = []
    for _ in range(500):
        began = time.perf_counter()
        assert await services.providers.principal(token)
        times.append(time.perf_counter() - began)
    assert sorted(times)[250] < 0.0002
