"""Who gets in, looked after in a real browser: from a new user to one who is kept out; and how pages look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.batches import judged
from support.pages import CHROMIUM, FETCHED, browsing, violations
from support.people import PASSWORD
from support.site import log_in, site
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Page

    from support.database import Database

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]


async def add_bob(page: Page, url: str) -> str:
    """Add a viewer; return the password that was made up."""
    await page.goto(f"{url}/customer/users")
    await page.get_by_role("link", name="Add a user").click()
    await page.get_by_label("Name (required)").fill("bob")
    await page.get_by_label("Role (required)").select_option("customer_viewer")
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.get_by_role("heading", name="Password of bob").wait_for()
    await page.get_by_role("button", name="Copy").wait_for()
    return await page.locator(".secret .copyable").first.inner_text()


async def test_a_viewer_is_added_looks_and_is_kept_out(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints) as page, browsing([]) as theirs:
        await log_in(page, url)
        password = await add_bob(page, url)
        assert password not in page.url
        await page.get_by_role("link", name="Change").click()
        await page.get_by_role("heading", name="Change: bob").wait_for()
        await page.go_back()
        await page.get_by_role("link", name="Change").wait_for()
        assert password not in await page.content(), "going back does not show it again"

        await theirs.goto(f"{url}/login")
        await theirs.get_by_label("Name").fill("bob")
        await theirs.get_by_label("Password").fill(password)
        await theirs.get_by_role("button", name="Log in").click()
        await theirs.get_by_role("heading", name="Dashboard").wait_for()
        assert await theirs.get_by_role("link", name="Users").count() == 0
        await theirs.goto(f"{url}/customer/users/new")
        await theirs.get_by_role("heading", name="Forbidden").wait_for()
        token = await theirs.evaluate("fetch('/api/auth/status').then(r => r.json()).then(it => it.session.csrf_token)")
        deed = "([path, token]) => fetch(path, {method: 'POST', headers: {'X-CSRF-Token': token}}).then(r => r.status)"
        assert await theirs.evaluate(deed, ["/customer/users/new", token]) == 403
        await theirs.get_by_role("link", name="To your dashboard").click()
        await theirs.get_by_role("heading", name="Dashboard").wait_for()

        await page.get_by_role("button", name="Disable").click()
        await page.get_by_text("Disabled, and logged out everywhere.").wait_for()
        await page.get_by_role("button", name="Enable").wait_for()

        async def is_out() -> bool:
            await theirs.goto(f"{url}/customer/devices")
            return "/login" in theirs.url

        await eventually(is_out, within_s=10, what="the end of their session")
        assert await violations(page) == []
    assert complaints == []
    assert judged(database, "SELECT username FROM users WHERE disabled_at IS NOT NULL") == [("bob",)]


async def test_a_secret_leaves_with_its_page_even_if_the_page_is_kept(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints) as page:
        await log_in(page, url)
        await add_bob(page, url)
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        assert await page.locator(".secret").count() == 0
    assert complaints == []


@pytest.mark.parametrize("system", ["light", "dark"])
async def test_the_theme_that_was_chosen_takes_effect_at_once(database: Database, tmp_path: Path, system: str) -> None:
    complaints: list[str] = []
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(245, 246, 244)", "rgb(18, 23, 21)"
    async with site(database, tmp_path) as (url, _), browsing(complaints, theme=system) as page:
        await log_in(page, url)
        await page.get_by_role("link", name="ada").click()
        assert await page.evaluate(ground) == {"light": light, "dark": dark}[system]
        for name, wanted in (("Dark", dark), ("Light", light)):
            await page.get_by_role("button", name=name).click()
            await page.locator(f"button[aria-pressed=true]:has-text('{name}')").wait_for()
            assert await page.evaluate(ground) == wanted
        await page.goto(f"{url}/customer/nothing")
        assert await page.evaluate(ground) == light, "error pages, too"
    assert [each for each in complaints if "404" not in each] == []


async def test_ones_own_password_is_changed(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints) as page:
        await log_in(page, url)
        await page.get_by_role("link", name="ada").click()
        await page.get_by_label("Current password").fill(PASSWORD)
        await page.get_by_label("New password").fill("a better horse battery")
        await page.get_by_role("button", name="Change the password").click()
        await page.get_by_text("Your password is changed").wait_for()
        await page.goto(f"{url}/customer/devices")
        await page.get_by_role("heading", name="Devices").wait_for()
        assert await violations(page) == []
    assert complaints == []
