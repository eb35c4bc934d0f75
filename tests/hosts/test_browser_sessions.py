"""What becomes of a session: how fast it ends everywhere, how long it lasts, what it costs, what is kept of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.secrets import SecretBox
from pulse_postgres.pool import open_pool
from pulse_postgres.resealing import SESSIONS, Resealing
from pulse_server.resealing import reseal
from pulse_server.sessions.desk import BELIEVED_S
from pulse_server.web.entrance import cookies
from support.admin import Admin, Caller, admin_api
from support.batches import judged
from support.browsing import Browser, session_caller, with_session
from support.command_line import command_line, ok
from support.people import PASSWORD, person

if TYPE_CHECKING:
    from pathlib import Path

    from quart import Quart

    from pulse_postgres.identity.browser_sessions import PostgresBrowserSessions
    from support.database import Database

STATUS = "/api/auth/status"


async def both(apps: list[Quart]) -> tuple[str, list[Caller]]:
    """One session, believed in by both."""
    _, cookie_id = await session_caller(apps[0], "ada")
    callers = [await with_session(app, cookie_id) for app in apps]
    assert [(await caller.get(STATUS))[0] for caller in callers] == [200, 200]
    return cookie_id, callers


def change(database: Database, statement: str) -> None:
    with database.superuser() as connection:
        assert connection.execute(statement.encode()).rowcount >= 1


async def ends_within_5_s(callers: list[Caller]) -> None:
    began = time.monotonic()
    for caller in callers:
        while (await caller.get(STATUS))[0] == 200:
            assert time.monotonic() - began < 5
            await asyncio.sleep(0.05)
        assert (await caller.get(STATUS))[0] == 401


ENDS = {
    "suspended": "UPDATE tenants SET status = 'SUSPENDED'",
    "tenant gone": "DELETE FROM tenants",
    "disabled": "UPDATE users SET disabled_at = now()",
    "another role": "UPDATE users SET role = 'customer_viewer'",
    "the provider's session has ended": "UPDATE sessions SET ended_at = now()",
    "user gone": "DELETE FROM users",
    "ended": "UPDATE browser_sessions SET ended_at = now(), tokens = NULL",
    "expired": "UPDATE browser_sessions SET expires_at = now()",
    "idle": "UPDATE browser_sessions SET seen_at = now() - interval '12 hours'",
    "gone": "DELETE FROM browser_sessions",
}


@pytest.mark.parametrize("statement", ENDS.values(), ids=ENDS)
async def test_a_session_ends_within_5_s_in_every_process(
    apps: list[Quart], database: Database, statement: str
) -> None:
    _, callers = await both(apps)
    change(database, statement)
    await ends_within_5_s(callers)


@pytest.mark.parametrize("command", ["disable", "passwd"])
async def test_what_an_operator_types_ends_it_in_every_process(
    apps: list[Quart], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    _, callers = await both(apps)
    pulse = command_line(monkeypatch, tmp_path, database)
    ok(await asyncio.to_thread(pulse, "users", command, "ada", text=f"{PASSWORD} anew"))
    await ends_within_5_s(callers)
    ok(await asyncio.to_thread(pulse, "users", "enable", "ada"))
    assert [(await caller.get(STATUS))[0] for caller in callers] == [401, 401], "it does not come back"


async def test_logging_out_here_ends_it_there(apps: list[Quart]) -> None:
    _, callers = await both(apps)
    assert (await callers[0].post("/logout"))[0] == 200
    assert (await callers[0].get(STATUS))[0] == 401, "at once, where it was done"
    await ends_within_5_s(callers)


async def test_a_suspended_tenant_that_is_resumed_need_not_log_in_again(apps: list[Quart], database: Database) -> None:
    _, callers = await both(apps)
    change(database, "UPDATE tenants SET status = 'SUSPENDED'")
    await ends_within_5_s(callers)
    change(database, "UPDATE tenants SET status = 'ACTIVE'")
    assert (await callers[0].get(STATUS))[0] == 200


async def test_a_request_costs_no_query_as_a_rule(apps: list[Quart], monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = apps[0].extensions["services"].sessions
    store: PostgresBrowserSessions = sessions._store
    looks: list[bytes] = []
    read = store.read

    async def counted(id_hash: bytes) -> Any:
        looks.append(id_hash)
        return await read(id_hash)

    monkeypatch.setattr(store, "read", counted)
    caller, cookie_id = await session_caller(apps[0], "ada")
    began = time.monotonic()
    for _ in range(200):
        assert (await caller.get(STATUS))[0] == 200
    assert len(looks) <= (time.monotonic() - began) / BELIEVED_S + 2
    times = []
    for _ in range(500):
        assert await sessions.find(cookie_id)
        began = time.perf_counter()
        assert await sessions.find(cookie_id)
        times.append(time.perf_counter() - began)
    assert sorted(times)[250] < 0.0002
    await asyncio.sleep(0)
    looks.clear()
    sessions._known._entries.clear()
    answers = await asyncio.gather(*(caller.get(STATUS) for _ in range(20)))
    assert {status for status, _, _ in answers} == {200}
    assert len(looks) == 1, "all who ask at once share one look"


async def test_that_somebody_was_seen_is_written_once_a_minute_and_nobody_waits_for_it(
    apps: list[Quart], database: Database
) -> None:
    caller, _ = await session_caller(apps[0], "ada")
    look = "SELECT seen_at FROM browser_sessions"
    first = judged(database, look)

    async def asked() -> None:
        apps[0].extensions["services"].sessions._known._entries.clear()
        assert (await caller.get(STATUS))[0] == 200

    await asked()
    assert judged(database, look) == first
    change(database, "UPDATE browser_sessions SET seen_at = now() - interval '61 seconds'")
    with database.superuser() as hand, hand.transaction():
        hand.execute("SELECT FROM browser_sessions FOR UPDATE")
        await asked()
    await asked()
    assert judged(database, look) > first


async def test_sessions_that_are_over_are_forgotten_at_somebodys_next_login(
    apps: list[Quart], database: Database
) -> None:
    for _ in range(4):
        await session_caller(apps[0], "ada")
    ages = ["expires_at = now()", "seen_at = now() - interval '13 hours'",
            "ended_at = now() - interval '2 hours', tokens = NULL", "ended_at = now(), tokens = NULL"]  # fmt: skip
    for (session_id,), age in zip(judged(database, "SELECT session_id::text FROM browser_sessions"), ages, strict=True):
        change(database, f"UPDATE browser_sessions SET {age} WHERE session_id = '{session_id}'")
    await session_caller(apps[0], "ada")
    assert judged(database, "SELECT count(*), count(ended_at) FROM browser_sessions") == [(2, 1)]


async def test_lifetimes_are_the_operators(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path, sessions={"idle_s": 600, "longest_s": 3600}) as admin:
        await admin.tenant()
        person(database)
        caller, _ = await session_caller(admin.client.app, "ada")
        lasts = "SELECT expires_at - created_at = interval '1 hour' FROM browser_sessions"
        assert judged(database, lasts) == [(True,)]
        change(database, "UPDATE browser_sessions SET seen_at = now() - interval '9 minutes'")
        assert (await caller.get(STATUS))[0] == 200
        change(database, "UPDATE browser_sessions SET seen_at = now() - interval '11 minutes'")
        await ends_within_5_s([caller])


OLD, NEW = "o" * 40, "n" * 40


async def test_the_secret_key_can_be_replaced_and_nobody_is_logged_out(
    admin: Admin, database: Database, tmp_path: Path
) -> None:
    person(database)
    app = admin.client.app
    services = app.extensions["services"]

    def start_with(*keys: str) -> None:
        """As a process does that is started with these keys."""
        services.box = SecretBox(*keys)
        sessions = services.sessions
        sessions._box = sessions._renewals._box = services.box
        sessions._known._entries.clear()
        del app.extensions["QUART_AUTH"]
        app.after_request_funcs[None] = [
            each for each in app.after_request_funcs[None]
            if not isinstance(getattr(each, "__self__", None), cookies.SessionCookie)
        ]  # fmt: skip
        cookies.install(app, services.box, 1000)

    start_with(OLD)
    browser = Browser(app)
    await browser.log_in()
    before = await browser.status()
    start_with(NEW, OLD)
    assert (await browser.status())["session"]["expires_at"] == before["session"]["expires_at"]
    pool = await open_pool(database.dsn("pulse_admin"), name="test", max_size=1)
    try:
        done = await reseal(Resealing(pool, SESSIONS), SecretBox(NEW, OLD))
        again = await reseal(Resealing(pool, SESSIONS), SecretBox(NEW, OLD))
    finally:
        await pool.close()
    assert (done.resealed, again.resealed, again.current) == (1, 0, 1)
    start_with(OLD)
    assert await browser.status() == 401, "a process that does not know the new key"
    start_with(NEW)
    assert await browser.status() == 401, "nobody signs with the old key any more"
    start_with(NEW, OLD)
    assert (await browser.status())["subject"] == "user:ada"
    shown = await browser.go("/api/auth/refresh", "POST", X_CSRF_Token=before["session"]["csrf_token"])
    assert shown.status == 200, "a page that was open keeps its token"
