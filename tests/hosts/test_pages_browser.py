"""The pages of customers in a real browser: strict policy, scripts of ours, narrow windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.notices import Kind
from support.batches import judged
from support.pages import CHROMIUM, FETCHED, browsing, violations
from support.site import log_in, site

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Page

    from support.database import Database

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]

PAGES = ("dashboard", "devices", "devices/dev-1", "alerts", "integrations", "integrations/webhook/new")


async def go_to(page: Page, title: str) -> None:
    """By the navigation, which a narrow window hides behind a button."""
    menu = page.get_by_role("button", name="Menu")
    if await menu.is_visible():
        await menu.click()
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name=title, exact=True).click()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (375, "dark")])
async def test_a_webhook_is_added_through_its_form(database: Database, tmp_path: Path, width: int, theme: str) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints, width=width, theme=theme) as page:
        await log_in(page, url)
        await go_to(page, "Integrations")
        await page.get_by_role("link", name="webhook").click()
        await page.get_by_label("Name (required)").fill("on call")
        await page.get_by_label("URL").fill("https://example.com/hook")
        await page.get_by_label("Secret (required)").fill("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_role("heading", name="on call").wait_for()
        await go_to(page, "Integrations")
        await page.get_by_role("link", name="on call").wait_for()
        for path in PAGES:
            await page.goto(f"{url}/customer/{path}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert await page.locator("h1").count() == 1
            assert await violations(page) == []
    assert complaints == []
    assert judged(database, "SELECT name FROM integrations") == [("on call",)]


async def test_a_page_reads_itself_anew_when_something_has_changed(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints) as page:
        await log_in(page, url)
        await page.goto(f"{url}/customer/devices")
        await page.get_by_text("Updates by itself").wait_for()
        await page.get_by_label("Search").fill("half typed")
        judged(database, "UPDATE devices SET name = 'a <b>new</b> name' RETURNING true")
        services.board.note("tenant-a", Kind.DEVICES, ["dev-1"])
        await page.get_by_text("a <b>new</b> name").wait_for()
        assert await page.get_by_label("Search").input_value() == "half typed"

        await page.goto(f"{url}/customer/devices/dev-1")
        await page.get_by_text("Updates by itself").wait_for()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        judged(database, "UPDATE devices SET name = 'the third name' RETURNING true")
        services.board.note("tenant-a", Kind.DEVICES, ["dev-1"])
        await page.get_by_role("heading", name="the third name").wait_for()
        read = {each for each in asked if "/customer/" in each and "/telemetry?" not in each}
        assert read == {f"{url}/customer/devices/dev-1"}, "beside what charts draw"
        assert await violations(page) == []
    assert complaints == []
