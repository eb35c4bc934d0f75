"""Logging in at a browser: the form, where one comes to afterwards, and what others get who are not logged in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from pulse_server.web.entrance import csrf
from pulse_server.web.entrance.local_paths import local_path
from support.admin import KEY, Admin, admin_api
from support.batches import judged
from support.browsing import HTML, Browser
from support.people import PASSWORD, person

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database


@pytest.fixture
def browser(admin: Admin, database: Database) -> Browser:
    person(database)
    return Browser(admin.client.app)


async def test_whoever_asks_for_a_page_is_sent_to_log_in_and_back(browser: Browser) -> None:
    asked = "/customer/devices?limit=2&q=a%20b"
    to = (await browser.go(asked)).to
    assert to == "/login?next=%2Fcustomer%2Fdevices%3Flimit%3D2%26q%3Da%2520b"
    form = await browser.go(to)
    assert form.status == 200
    (onward,) = re.findall(r'name="next" value="([^"]*)"', form.text)
    assert onward.replace("&amp;", "&") == asked
    sent = {"username": "Ada", "password": PASSWORD, "next": asked, csrf.FIELD: form.token}
    assert (await browser.post("/login", sent)).to == asked
    program = await browser.go("/customer/devices?limit=2", Accept="application/json")
    assert program.json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "", "text/html;q=0", "application/json, text/html;q=0.5"]
)
async def test_a_program_gets_problem_details(browser: Browser, accept: str) -> None:
    shown = await browser.go("/customer/devices", Accept=accept)
    assert (shown.status, shown.headers["Content-Type"]) == (401, "application/problem+json")
    assert shown.headers["WWW-Authenticate"] == 'Bearer realm="pulse"'


async def test_only_what_can_come_back_is_sent_away(browser: Browser) -> None:
    assert (await browser.post("/customer/integrations")).status == 401, "what was sent would be lost"
    assert (await browser.go("/customer/devices", Authorization="Bearer x")).status == 401, "another token is needed"
    assert (await browser.go("/api/admin/devices")).status == 401, "a login does not help"
    assert (await browser.go("/customer/devices", "HEAD")).status == 303


async def test_the_cookie_holds_an_id_and_nothing_else(browser: Browser, database: Database) -> None:
    shown = await browser.log_in()
    assert shown.to == "/"
    (given,) = [each for each in browser.given if each.startswith("__Host-pulse=")]
    assert "Max-Age" not in given
    assert "Expires" not in given
    app = browser.client.app
    cookie_id = app.extensions["QUART_AUTH"][0].load_token(browser.cookies["__Host-pulse"], app)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie_id)
    kept = str(judged(database, "SELECT to_jsonb(b)::text FROM browser_sessions b"))
    for secret in (cookie_id, "pulser_", "eyJ", PASSWORD):
        assert secret not in kept
    assert "user:ada" in kept
    assert "<local>" in kept, "where it was begun"


async def test_a_session_is_who_logged_in(browser: Browser) -> None:
    await browser.log_in()
    status = await browser.status()
    session = status.pop("session")
    assert status == {
        "subject": "user:ada", "role": "customer_admin", "tenant_id": "tenant-a", "email": "ada@example.com",
    }  # fmt: skip
    assert set(session) == {"csrf_token", "provider", "expires_at"}
    assert session["provider"] == "accounts"
    assert (await browser.go("/")).to == "/customer/dashboard"
    page = await browser.go("/customer/dashboard")
    assert "<strong>ada</strong>" in page.text
    assert page.token == session["csrf_token"]
    assert (await browser.go("/operator/ledger")).status == 403


async def test_an_operators_looks_are_written_down(browser: Browser, database: Database) -> None:
    person(database, "olga", Role.OPERATOR, "")
    await browser.log_in("olga")
    assert (await browser.go("/operator/ledger")).status == 200
    assert judged(database, "SELECT actor FROM audit_log WHERE action = 'operator.access'") == [("user:olga",)]


async def test_a_token_wins_over_the_session(browser: Browser, admin: Admin) -> None:
    await browser.log_in()
    caller = await admin.operator()
    shown = await browser.go("/api/auth/status", **caller.headers)
    assert shown.json()["subject"] == "token:operator of None"
    assert "session" not in shown.json()
    assert (await browser.go("/api/auth/status", Authorization="Bearer x")).status == 401
    assert (await browser.go("/api/auth/status", Authorization="Basic x")).status == 200


REFUSED = {
    "wrong password": ("ada", "wrong", 401),
    "nobody": ("nobody", PASSWORD, 401),
    "NUL": ("a\0da", PASSWORD, 401),
    "markup": ("<script>alert(1)</script>", "wrong", 401),
    "no name": ("", PASSWORD, 422),
    "no password": ("ada", "", 422),
    "a long name": ("a" * 65, PASSWORD, 422),
    "a long password": ("ada", "x" * 1025, 422),
}


@pytest.mark.parametrize(("username", "password", "expected"), REFUSED.values(), ids=REFUSED)
async def test_whoever_is_refused_may_try_again(browser: Browser, username: str, password: str, expected: int) -> None:
    shown = await browser.log_in(username, password, next="/customer/devices")
    assert shown.status == expected
    assert 'role="alert"' in shown.text
    assert 'value="/customer/devices"' in shown.text
    assert "<script" not in shown.text
    if password:
        assert password not in shown.text
    assert await browser.status() == 401
    assert "__Host-pulse" not in browser.cookies


async def test_guessing_is_slowed_down_together_with_the_api(browser: Browser) -> None:
    calls = browser.client.app.test_client()
    tried = {"username": "ada", "password": "wrong"}
    for _ in range(5):
        assert (await browser.log_in("ada", "wrong")).status == 401
    for _ in range(50):  # on a slow machine the bucket fills up meanwhile
        if (await calls.post("/api/auth/token", json=tried)).status_code == 429:
            break
    shown = await browser.log_in()
    assert shown.status == 429
    assert 1 <= int(shown.headers["Retry-After"]) <= 6
    assert "Too many tries" in shown.text


async def test_a_form_that_this_browser_was_not_given_logs_nobody_in(browser: Browser) -> None:
    other = browser.twin()
    theirs = (await other.go("/login")).token
    await browser.go("/login")
    right = {"username": "ada", "password": PASSWORD}
    for token in (theirs, "", "x", "é"):
        shown = await browser.post("/login", {**right, csrf.FIELD: token})
        assert shown.status == 403
        assert 'role="alert"' in shown.text
    bare = browser.twin()
    bare.cookies = {}
    assert (await bare.post("/login", {**right, csrf.FIELD: theirs})).status == 403
    token = (await browser.go("/login")).token
    for header in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        assert (await browser.post("/login", {**right, csrf.FIELD: token}, **header)).status == 403
    assert await browser.status() == 401
    same = {"Origin": "http://localhost", "Sec_Fetch_Site": "same-origin"}
    assert (await browser.post("/login", {**right, csrf.FIELD: token}, **same)).to == "/"


async def test_two_forms_that_are_open_at_once_both_work(browser: Browser) -> None:
    first, second = (await browser.go("/login")).token, (await browser.go("/login")).token
    for token in (first, second, first):
        sent = {"username": "ada", "password": PASSWORD, csrf.FIELD: token}
        assert (await browser.post("/login", sent)).to == "/"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
        "https:evil.example", "javascript:alert(1)", "evil.example", "/%2Fevil.example", "/%5Cevil.example",
        "/%252Fevil.example", "%2F%2Fevil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example",
        "/%09/evil.example", "/%0d%0aSet-Cookie:x=y", "/\0", "//evil.example/..", "/" + "a" * 2001, "", "/login",
        "/login?next=/login", "/logout", "/callback?code=x", "/login/oidc", "//[", "http://[/", "/\u202eevil",
    ],
)  # fmt: skip
async def test_nobody_is_led_to_another_host(browser: Browser, wanted: str) -> None:
    assert local_path(wanted) == "/"
    assert (await browser.log_in(next=wanted)).to == "/"


@pytest.mark.parametrize("wanted", ["/", "/customer/devices?limit=2&q=a%20b", "/a:b", "/loginx", "/a//b", "/?a=b://c"])
def test_a_page_of_ours_is_one(wanted: str) -> None:
    assert local_path(wanted) == wanted


async def test_a_login_makes_a_new_id_and_ends_the_one_before(browser: Browser, database: Database) -> None:
    await browser.log_in()
    before = browser.twin()
    assert (await before.status())["subject"] == "user:ada"
    person(database, "bob")
    await browser.log_in("bob")
    assert browser.cookies["__Host-pulse"] != before.cookies["__Host-pulse"]
    assert (await browser.status())["subject"] == "user:bob"
    assert await before.status() == 401
    lines = judged(database, "SELECT actor, action FROM audit_log WHERE action ~ '^user' ORDER BY audit_id")
    assert sorted(lines) == [("user:ada", "user.login"), ("user:ada", "user.logout"), ("user:bob", "user.login")]


async def test_a_cookie_that_was_not_signed_by_us_is_none(browser: Browser) -> None:
    await browser.log_in()
    good = browser.cookies["__Host-pulse"]
    for bad in (good[:-1], good + "x", good.split(".")[0], "x", "", "é", good.replace(".", "..")):
        browser.cookies["__Host-pulse"] = bad
        assert await browser.status() == 401, bad


async def test_the_form_says_who_is_logged_in_already(browser: Browser) -> None:
    await browser.log_in()
    shown = await browser.go("/login?next=/customer/devices")
    assert "You are logged in as <strong>ada</strong>" in shown.text
    assert 'href="/customer/devices"' in shown.text


async def test_logging_out_ends_the_session_and_takes_the_cookie_back(browser: Browser, database: Database) -> None:
    await browser.log_in()
    twin = browser.twin()
    assert (await browser.log_out()).to == "/login?notice=logged-out"
    assert "__Host-pulse" not in browser.cookies
    assert "You are logged out" in (await browser.go("/login?notice=logged-out")).text
    assert await twin.status() == 401
    lines = judged(database, "SELECT actor, action, tenant_id FROM audit_log WHERE action ~ '^user'")
    assert sorted(lines) == [("user:ada", "user.login", "tenant-a"), ("user:ada", "user.logout", "tenant-a")]
    assert judged(database, "SELECT tokens FROM browser_sessions WHERE ended_at IS NOT NULL") == [(None,)]
    assert (await browser.post("/logout")).to == "/login?notice=logged-out"
    assert "not logged in" in (await browser.go("/logout")).text


async def test_a_script_logs_out(browser: Browser) -> None:
    await browser.log_in()
    token = (await browser.status())["session"]["csrf_token"]
    shown = await browser.go("/logout", "POST", Accept="application/json", X_CSRF_Token=token)
    assert (shown.status, shown.json()) == (200, {"logout_url": None})
    assert await browser.status() == 401


ERRORS = [
    ("/customer/devices/nothing", 404), ("/nothing", 404), ("/operator/ledger", 403),
    ("/customer/devices?limit=x", 422),
]  # fmt: skip


@pytest.mark.parametrize(("path", "status"), ERRORS)
async def test_an_error_is_a_page_for_people(browser: Browser, path: str, status: int) -> None:
    await browser.log_in()
    shown = await browser.go(path, X_Request_Id="this-one")
    assert (shown.status, shown.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert "this-one" in shown.text
    assert "form-action 'none'" in shown.headers["Content-Security-Policy"]
    told = await browser.go(path, Accept="application/json")
    assert (told.status, told.headers["Content-Type"]) == (status, "application/problem+json")


async def test_pages_run_nothing_that_is_not_ours(browser: Browser) -> None:
    await browser.log_in()
    for path in ("/customer/dashboard", "/login", "/logout", "/nothing"):
        shown = await browser.go(path)
        policy = shown.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert ("form-action 'self'" in policy) is (path != "/nothing")
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", shown.text), path
        assert shown.headers["X-Frame-Options"] == "DENY"
        assert "camera=()" in shown.headers["Permissions-Policy"]
        assert shown.headers["Referrer-Policy"] == "same-origin"
        assert shown.headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" not in shown.headers


@pytest.mark.parametrize(
    ("mode", "url", "told"),
    [("prod", "https://pulse.example.com", True), ("prod", "http://pulse.example.com", False),
     ("dev", "https://pulse.example.com", False)],
)  # fmt: skip
async def test_production_over_tls_says_so_for_a_year(
    database: Database, tmp_path: Path, mode: str, url: str, told: bool
) -> None:
    async with admin_api(database, tmp_path, mode=mode, public_url=url, admin_key=KEY) as admin:
        response = await admin.client.get("/login", headers={"Accept": HTML})
        assert (response.headers.get("Strict-Transport-Security") == "max-age=31536000") is told
