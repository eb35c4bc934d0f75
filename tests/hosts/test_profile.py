"""``/profile``, and the pages that say what went wrong: for whoever has logged in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import StoreUnavailable
from pulse_core.principal import Role
from pulse_server.web import theme
from pulse_server.web.entrance import csrf
from support.batches import judged
from support.browser_forms import Page
from support.browsing import Browser, at_browser
from support.people import PASSWORD, Door

if TYPE_CHECKING:
    from support.admin import Admin
    from support.database import Database

BETTER = "a better horse battery"
BEGINS = {
    Role.CUSTOMER_VIEWER: "/customer/dashboard",
    Role.CUSTOMER_ADMIN: "/customer/dashboard",
    Role.OPERATOR: "/operator/dashboard",
    Role.OPERATOR_ADMIN: "/operator/dashboard",
}


async def logged_in(admin: Admin, database: Database, role: Role = Role.CUSTOMER_ADMIN) -> Browser:
    return await at_browser(admin, database, role, "ada")


@pytest.mark.parametrize("role", Role)
async def test_everybody_reads_who_they_are(admin: Admin, database: Database, role: Role) -> None:
    browser = await logged_in(admin, database, role)
    shown = await browser.go("/profile")
    assert shown.status == 200
    text = "".join(Page(shown.text).texts)
    assert all(each in text for each in ("ada", str(role).replace("_", " "), "ada@example.com"))
    assert ("tenant-a" in text) is role.of_a_tenant
    assert '<a class="person" href="/profile">' in shown.text
    stranger = await Browser(admin.client.app).go("/profile")
    assert stranger.to == "/login?next=%2Fprofile"


async def test_one_changes_ones_own_password(admin: Admin, database: Database) -> None:
    browser, door = await logged_in(admin, database, Role.CUSTOMER_VIEWER), Door(admin.client)
    token = (await browser.go("/profile")).token
    for sent, field, said in (
        ({"current": "not mine at all", "new": BETTER}, "current", "this is not your password"),
        ({"current": PASSWORD, "new": "short"}, "new", "at least 12 characters"),
        ({"current": "", "new": BETTER}, "current", "required"),
    ):
        shown = await browser.post("/profile/password", {csrf.FIELD: token, **sent})
        assert shown.status == 422
        assert said in shown.text.partition(f'id="f-{field}:fault">')[2].partition("<")[0]
        assert BETTER not in shown.text
        assert PASSWORD not in shown.text
    right = {"current": PASSWORD, "new": BETTER}
    assert (await browser.post("/profile/password", right)).status == 403, "without the token"
    assert (await door.log_in())[0] == 200
    assert (await browser.post("/profile/password", {csrf.FIELD: token, **right})).to == "/profile"
    shown = await browser.go("/profile")
    assert (shown.status, "Your password is changed" in shown.text) == (200, True), "this session goes on"
    assert [(await door.log_in("ada", each))[0] for each in (PASSWORD, BETTER)] == [401, 200]


async def test_the_boxes_are_what_password_managers_know(admin: Admin, database: Database) -> None:
    browser = await logged_in(admin, database)
    boxes = {box.name: box.attrs for box in Page((await browser.go("/profile")).text).boxes}
    kinds = [boxes[name]["autocomplete"] for name in ("username", "current", "new")]
    assert kinds == ["username", "current-password", "new-password"]


async def test_a_theme_is_chosen_and_kept(admin: Admin, database: Database) -> None:
    browser = await logged_in(admin, database)
    shown = await browser.go("/profile")
    assert "data-theme" not in shown.text
    assert (await browser.post("/profile/theme", {"theme": "dark"})).status == 403, "without the token"
    assert theme.COOKIE not in browser.cookies
    for chosen in ("dark", "light"):
        assert (await browser.post("/profile/theme", {csrf.FIELD: shown.token, "theme": chosen})).to == "/profile"
        for path in ("/profile", "/customer/devices", "/nothing"):
            assert f'<html lang="en" data-theme="{chosen}">' in (await browser.go(path)).text
    for back in ("system", "<script>"):
        await browser.post("/profile/theme", {csrf.FIELD: shown.token, "theme": back})
        assert theme.COOKIE not in browser.cookies
        assert "data-theme" not in (await browser.go("/profile")).text


@pytest.mark.parametrize("role", Role)
async def test_an_error_leads_to_where_one_begins(admin: Admin, database: Database, role: Role) -> None:
    browser = await logged_in(admin, database, role)
    forbidden = "/customer/devices" if not role.of_a_tenant else "/operator/devices"
    for path, status in ((forbidden, 403), ("/nothing", 404)):
        shown = await browser.go(path)
        assert shown.status == status
        assert f'<a class="button" href="{BEGINS[role]}">To your dashboard</a>' in shown.text
        assert '<a href="/profile">ada</a>' in shown.text
    stranger = await Browser(admin.client.app).go("/nothing")
    assert (stranger.status, "To your dashboard" in stranger.text) == (404, False)
    assert '<a class="button" href="/">To the beginning</a>' in stranger.text


async def test_a_fault_of_ours_says_what_to_do_and_asks_nothing_more(
    admin: Admin, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await logged_in(admin, database)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("pulse_server.web.customer.devices.device_page", broken)
    shown = await browser.go("/customer/devices")
    assert shown.status == 500
    assert "a secret of ours" not in shown.text
    assert all(each in shown.text for each in ("Try again", "To your dashboard", "tell them this"))
    asked: list[object] = []

    async def away(*args: object) -> None:
        asked.append(args)
        raise StoreUnavailable("away")

    monkeypatch.setattr(admin.client.app.extensions["services"].sessions, "find", away)
    shown = await browser.go("/customer/devices")
    assert (shown.status, "Wait a moment" in shown.text, len(asked)) == (503, True, 1)
    assert (await browser.go("/nothing")).status == 404, "who asks is not worth failing for"


async def test_where_passwords_are_not_kept_none_is_changed(
    admin: Admin, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await logged_in(admin, database)
    monkeypatch.setattr("pulse_server.web.profile.changes_passwords", lambda _: False)
    shown = await browser.go("/profile")
    assert not re.search(r'action="/profile/password"', shown.text)
    assert "not kept here" in shown.text
    assert judged(database, "SELECT count(*) FROM users") == [(1,)]
