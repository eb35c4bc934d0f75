"""Logging in elsewhere: what a browser brings back is good once, in that browser, for a while; two tabs do not mix."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from pulse_core.errors import TemporaryFailure
from pulse_core.principal import Principal, Role
from pulse_server.web.entrance import departures
from support.batches import judged
from support.browsing import Browser
from support.elsewhere import ADA, AWAY, Elsewhere, join
from support.people import person

if TYPE_CHECKING:
    from support.admin import Admin
    from support.database import Database

BOB = Principal("bob@elsewhere.example", Role.OPERATOR)


@pytest.fixture
def elsewhere(admin: Admin) -> Elsewhere:
    provider = join(admin.client.app, Elsewhere())
    provider.people = {"ada": ADA, "bob": BOB}
    return provider


@pytest.fixture
def browser(admin: Admin, elsewhere: Elsewhere) -> Browser:
    return Browser(admin.client.app)


async def leave(browser: Browser, onward: str = "/") -> str:
    """Go there; return where the browser comes back to, as whom is to be said."""
    to = (await browser.go(f"/login/elsewhere?next={onward}")).to
    assert to.startswith("https://elsewhere.example/authorize?")
    query = parse_qs(urlsplit(to).query)
    back = urlsplit(query["redirect_uri"][0])
    assert (back.netloc, back.path) == ("127.0.0.1:8080", "/callback")
    return f"/callback?state={query['state'][0]}&code="


async def test_the_form_has_a_button_for_it(browser: Browser) -> None:
    shown = await browser.go("/login?next=/customer/devices")
    assert 'href="/login/elsewhere?next=/customer/devices"' in shown.text.replace("%2F", "/")
    assert "Log in with elsewhere" in shown.text
    assert 'type="password"' in shown.text


async def test_whoever_comes_back_is_logged_in_and_written_down_once(browser: Browser, database: Database) -> None:
    back = await leave(browser, "/customer/devices")
    assert (await browser.go(back + "ada")).to == "/customer/devices"
    assert (await browser.status())["subject"] == ADA.subject
    assert list(browser.cookies) == ["__Host-pulse"], "what was kept for the way back is gone"
    assert (await browser.log_out()).status == 200
    lines = judged(database, "SELECT actor, action, tenant_id, details FROM audit_log WHERE action ~ '^user'")
    assert sorted(lines, key=str) == [
        (ADA.subject, "user.login", "tenant-a", {"provider": "elsewhere"}),
        (ADA.subject, "user.logout", "tenant-a", {"provider": "elsewhere"}),
    ]


async def test_it_is_good_for_one_time(browser: Browser, elsewhere: Elsewhere, database: Database) -> None:
    back = await leave(browser)
    twin = browser.twin()
    assert (await browser.go(back + "ada")).to == "/"
    assert (await browser.go(back + "ada")).status == 400
    assert (await twin.go(back + "ada")).status == 401, "not even with the cookie that was there"
    assert await twin.status() == 401
    assert judged(database, "SELECT count(*) FROM browser_sessions") == [(1,)]
    await browser.log_out()
    second = await leave(browser)
    assert (await browser.go(second + "nobody")).status == 401
    assert (await browser.go(second + "ada")).status == 400, "a wrong answer uses it up, too"


async def test_another_browser_cannot_use_it(browser: Browser) -> None:
    back = await leave(browser)
    other = browser.twin()
    other.cookies = {}
    shown = await other.go(back + "bob")
    assert shown.status == 400
    assert "begin again" in shown.text
    assert await other.status() == 401
    await leave(other)
    assert (await other.go(back + "bob")).status == 400, "nor with a departure of its own"


async def test_two_tabs_do_not_disturb_each_other(browser: Browser) -> None:
    first, second = await leave(browser, "/a"), await leave(browser, "/b")
    assert (await browser.go(second + "ada")).to == "/b"
    assert (await browser.go(first + "bob")).to == "/a"
    assert (await browser.status())["subject"] == BOB.subject


async def test_not_many_are_kept_at_once(browser: Browser) -> None:
    backs = [await leave(browser) for _ in range(12)]
    assert len(browser.cookies) <= 6
    assert sum(map(len, browser.cookies.values())) < 8000
    assert (await browser.go(backs[-1] + "ada")).to == "/"


async def test_it_takes_no_more_than_ten_minutes(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    back = await leave(browser)
    later = time.time() + departures.LASTS_S + 1
    monkeypatch.setattr("pulse_server.web.entrance.departures.time.time", lambda: later)
    assert (await browser.go(back + "ada")).status == 400


@pytest.mark.parametrize("query", ["", "?state=x&code=ada", "?error=access_denied", "?state=a&state=b", "?state=%00"])
async def test_whoever_did_not_leave_does_not_come_back(browser: Browser, query: str) -> None:
    assert (await browser.go(f"/callback{query}")).status == 400


async def test_what_was_kept_cannot_be_made_up(browser: Browser, admin: Admin) -> None:
    back = await leave(browser)
    (name,) = browser.cookies
    good = browser.cookies[name]
    box = admin.client.app.extensions["services"].box
    for bad in (good[:-2], "x", "", "é", box.seal({"secret": "of an integration"}).decode()):
        browser.cookies[name] = bad
        assert (await browser.go(back + "ada")).status == 400
    browser.cookies[name] = good
    assert (await browser.go(back + "ada")).to == "/"


async def test_a_foreign_page_is_never_where_one_comes_to(browser: Browser) -> None:
    back = await leave(browser, "//evil.example")
    assert (await browser.go(back + "ada")).to == "/"


@pytest.mark.parametrize("name", ["accounts", "nothing", "..", "%00"])
async def test_nobody_leaves_for_what_is_not_there(browser: Browser, name: str) -> None:
    assert (await browser.go(f"/login/{name}")).status == 404


@pytest.mark.parametrize("fault", [AWAY, KeyError("a secret"), TemporaryFailure("x", retry_after_s=7)])
async def test_a_provider_that_is_away_is_503_and_may_be_tried_again(
    browser: Browser, elsewhere: Elsewhere, fault: Exception
) -> None:
    back = await leave(browser)
    elsewhere.fault = fault
    assert (await browser.go("/login/elsewhere")).status == 503
    shown = await browser.go(back + "ada")
    assert shown.status == 503
    assert "a secret" not in shown.text
    assert (await browser.go("/login")).status == 200
    elsewhere.fault = None
    assert (await browser.go(back + "ada")).to == "/"


async def test_logging_out_leads_there_and_back(browser: Browser, elsewhere: Elsewhere) -> None:
    await browser.go(await leave(browser) + "ada")
    shown = await browser.log_out()
    away = "https://elsewhere.example/logout?back=http://127.0.0.1:8080/login"
    assert (shown.status, shown.headers["Refresh"]) == (200, f"0; url={away}")
    assert f'href="{away}"' in shown.text
    assert await browser.status() == 401
    assert len(elsewhere.ended) == 1
    await browser.go(await leave(browser) + "ada")
    token = (await browser.status())["session"]["csrf_token"]
    told = await browser.go("/logout", "POST", Accept="application/json", X_CSRF_Token=token)
    assert told.json() == {"logout_url": away}


async def test_a_provider_that_is_away_keeps_nobody_logged_in(browser: Browser, elsewhere: Elsewhere) -> None:
    await browser.go(await leave(browser) + "ada")
    token = (await browser.go("/logout")).token
    elsewhere.fault = AWAY
    assert (await browser.post("/logout", {"csrf_token": token})).to == "/login?notice=logged-out"
    assert await browser.status() == 401


async def test_logging_in_again_there_leaves_its_own_session_alone(
    browser: Browser, elsewhere: Elsewhere, database: Database
) -> None:
    await browser.go(await leave(browser) + "ada")
    await browser.go(await leave(browser) + "ada")
    assert elsewhere.ended == []
    assert judged(database, "SELECT count(*), count(ended_at) FROM browser_sessions") == [(2, 1)]
    person(database)
    await browser.log_in()
    assert (await browser.status())["subject"] == "user:ada"
    assert judged(database, "SELECT count(*), count(ended_at) FROM browser_sessions") == [(3, 2)]
