"""Tokens of a session are renewed by one at a time, though a refresh token is good for one time; and nobody notices."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from support.batches import judged
from support.browsing import session_caller, with_session
from support.elsewhere import ADA, AWAY, Elsewhere, join
from support.waiting import until

if TYPE_CHECKING:
    from quart import Quart

    from support.admin import Caller
    from support.database import Database

STATUS = "/api/auth/status"
DUE = "UPDATE browser_sessions SET renew_at = now()"
OVER = "UPDATE browser_sessions SET renew_at = now(), tokens_until = now()"
GOOD = "SELECT renew_at > now() AND tokens_until > now() AND renewing_until IS NULL FROM browser_sessions"


@pytest.fixture
def elsewhere(apps: list[Quart]) -> Elsewhere:
    """One provider that both processes ask, slow enough for all to meet."""
    provider = Elsewhere()
    provider.slow_s = 0.2
    for app in apps:
        join(app, provider)
    return provider


async def a_session(apps: list[Quart], provider: Elsewhere) -> list[Caller]:
    cookie_id = await apps[0].extensions["services"].sessions.begin(provider, provider._tokens(ADA))
    return [await with_session(app, cookie_id) for app in apps]


def now(database: Database, statement: str, apps: list[Quart]) -> None:
    """Change something, and let no process believe what it knew."""
    with database.superuser() as connection:
        assert connection.execute(statement.encode()).rowcount == 1
    for app in apps:
        app.extensions["services"].sessions._known._entries.clear()


async def statuses(callers: list[Caller], times: int = 10) -> list[int]:
    answers = await asyncio.gather(*(caller.get(STATUS) for caller in callers for _ in range(times)))
    return [status for status, _, _ in answers]


@pytest.mark.parametrize("state", [DUE, OVER], ids=["due", "over"])
async def test_of_20_requests_to_two_processes_one_renews(apps: list[Quart], database: Database, state: str) -> None:
    """With accounts, whose second use of a refresh token would end the session."""
    _, cookie_id = await session_caller(apps[0], "ada")
    callers = [await with_session(app, cookie_id) for app in apps]
    for turn in range(1, 6):
        now(database, state, apps)
        assert await statuses(callers) == [200] * 20
        await until(lambda: judged(database, GOOD) == [(True,)], what="the next tokens")
        used = "SELECT count(*) FILTER (WHERE used_at IS NOT NULL), count(*) FROM refresh_tokens"
        assert judged(database, used) == [(turn, turn + 1)]
    assert judged(database, "SELECT action FROM audit_log WHERE action ~ '^(user|session)'") == [("user.login",)]
    assert await statuses(callers) == [200] * 20


@pytest.mark.parametrize("state", [DUE, OVER], ids=["due", "over"])
async def test_however_slow_the_provider_is_it_is_asked_once(
    apps: list[Quart], elsewhere: Elsewhere, database: Database, state: str
) -> None:
    callers = await a_session(apps, elsewhere)
    now(database, state, apps)
    assert await statuses(callers) == [200] * 20
    await until(lambda: judged(database, GOOD) == [(True,)], what="the next tokens")
    assert (elsewhere.renewals, elsewhere.reused) == (1, 0)


async def test_while_tokens_are_good_nobody_waits_for_the_next(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    elsewhere.slow_s = 3600
    callers = await a_session(apps, elsewhere)
    now(database, DUE, apps)
    async with asyncio.timeout(30):
        assert await statuses(callers) == [200] * 20
    await until(lambda: elsewhere.renewals == 1, what="the renewal")
    for app in apps:
        for task in app.extensions["services"].sessions._renewals._running.values():
            task.cancel()


async def test_a_browser_that_goes_away_takes_nothing_with_it(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    now(database, OVER, apps)
    request = asyncio.create_task(callers[0].get(STATUS))
    await until(lambda: elsewhere.renewals == 1, what="the renewal")
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request
    await until(lambda: judged(database, GOOD) == [(True,)], what="the next tokens")
    assert await statuses(callers) == [200] * 20
    assert elsewhere.reused == 0


async def test_the_next_tokens_say_who_it_is(apps: list[Quart], elsewhere: Elsewhere, database: Database) -> None:
    from msgspec.structs import replace

    from pulse_core.principal import Role

    callers = await a_session(apps, elsewhere)
    for refresh_token in elsewhere._refresh:
        elsewhere._refresh[refresh_token] = replace(ADA, role=Role.CUSTOMER_VIEWER)
    now(database, OVER, apps)
    _, body, _ = await callers[0].get(STATUS)
    assert body["role"] == "customer_viewer"
    assert judged(database, "SELECT role, vouched FROM browser_sessions") == [("customer_viewer", True)]
    for refresh_token in elsewhere._refresh:
        elsewhere._refresh[refresh_token] = replace(ADA, tenant_id="tenant-b")
    now(database, OVER, apps)
    assert (await callers[0].get(STATUS))[0] == 401, "a session never changes its tenant"


async def test_a_provider_that_is_away_logs_nobody_out(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    elsewhere.fault = AWAY
    now(database, DUE, apps)
    assert await statuses(callers) == [200] * 20, "its tokens are good"
    await until(lambda: elsewhere.renewals == 1, what="the renewal")
    now(database, OVER, apps)
    assert set(await statuses(callers)) == {503}
    status, _, headers = await callers[0].get(STATUS)
    assert (status, int(headers["Retry-After"]) >= 1) == (503, True)
    tries = elsewhere.renewals
    assert set(await statuses(callers)) == {503}
    assert elsewhere.renewals == tries, "it is left alone for a while"
    elsewhere.fault = None
    now(database, OVER, apps)
    assert await statuses(callers) == [200] * 20
    assert elsewhere.reused == 0


async def test_nobody_is_believed_to_be_what_only_older_tokens_said(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    now(database, "UPDATE browser_sessions SET vouched = false", apps)
    elsewhere.fault = AWAY
    assert await statuses(callers, 1) == [503, 503]
    elsewhere.fault = None
    assert await statuses(callers, 1) == [200, 200]


async def test_a_provider_with_a_fault_lets_nobody_in_and_logs_nobody_out(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    elsewhere.fault = KeyError("a token")
    now(database, DUE, apps)
    assert await statuses(callers, 1) == [503, 503]
    elsewhere.fault = None
    assert await statuses(callers, 1) == [200, 200]


async def test_whom_the_provider_renews_no_more_is_logged_out(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    elsewhere._refresh.clear()
    now(database, OVER, apps)
    assert await statuses(callers) == [401] * 20
    assert judged(database, "SELECT ended_at IS NOT NULL, tokens FROM browser_sessions") == [(True, None)]


async def test_whom_the_provider_knows_no_more_is_logged_out(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    elsewhere.forget()
    assert await statuses(callers) == [401] * 20
    assert judged(database, "SELECT ended_at IS NOT NULL FROM browser_sessions") == [(True,)]


async def test_who_logs_out_during_a_renewal_is_logged_out(
    apps: list[Quart], elsewhere: Elsewhere, database: Database
) -> None:
    callers = await a_session(apps, elsewhere)
    now(database, DUE, apps)
    assert (await callers[0].get(STATUS))[0] == 200
    await until(lambda: elsewhere.renewals == 1, what="the renewal")
    assert (await callers[1].post("/logout"))[0] == 200
    await until(lambda: len(elsewhere.ended) == 2, what="the end of the next tokens, too")
    assert judged(database, "SELECT tokens FROM browser_sessions") == [(None,)]
    now(database, "UPDATE browser_sessions SET seen_at = now()", apps)
    assert await statuses(callers) == [401] * 20


@pytest.mark.parametrize(("lasts_s", "due_s"), [(900, 840), (60, 27.5), (4, 0)])
async def test_tokens_are_due_a_minute_before_they_are_over(
    apps: list[Quart], elsewhere: Elsewhere, database: Database, lasts_s: int, due_s: float
) -> None:
    elsewhere.lasts_s = lasts_s
    await a_session(apps, elsewhere)
    look = "SELECT extract(epoch FROM renew_at - created_at)::float8 FROM browser_sessions"
    assert judged(database, look) == [(due_s,)]


async def test_a_script_renews_its_session(apps: list[Quart], elsewhere: Elsewhere, database: Database) -> None:
    (caller, _) = await a_session(apps, elsewhere)
    before = judged(database, "SELECT tokens FROM browser_sessions")
    status, body, _ = await caller.post("/api/auth/refresh")
    assert (status, body["subject"]) == (200, ADA.subject)
    assert body["session"]["csrf_token"] == caller.headers["X-CSRF-Token"]
    assert judged(database, "SELECT tokens FROM browser_sessions") != before
    assert elsewhere.renewals == 1
    elsewhere._refresh.clear()
    assert (await caller.post("/api/auth/refresh"))[0] == 401
