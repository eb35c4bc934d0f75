"""The pages of operators in a real browser: strict policy, narrow windows, pages that update by themselves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.notices import Kind
from pulse_core.principal import Role
from support import two_tenants
from support.batches import judged
from support.pages import CHROMIUM, FETCHED, browsing, violations
from support.people import person
from support.site import bare_site, log_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pulse_server.web.services import Services
    from support.database import Database

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]

PAGES = (
    "dashboard",
    "devices",
    "tenants/tenant-a/devices",
    "tenants/tenant-a/devices/d",
    "alerts",
    "deliveries",
    "integrations",
    "ledger",
    "tenants",
    "tenants/tenant-a",
    "tenants/~new",
    "tenants/tenant-a/edit",
    "tenants/tenant-a/suspend",
    "tenants/tenant-a/remove",
)


@asynccontextmanager
async def site(database: Database, data_dir: Path) -> AsyncIterator[tuple[str, Services]]:
    """The application with two tenants and an operator_admin, boss; it hears what the database tells."""
    two_tenants.fill(database)
    person(database, "boss", Role.OPERATOR_ADMIN, "")
    async with bare_site(database, data_dir) as found:
        yield found


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (375, "dark")])
async def test_each_page_fits_and_obeys_the_policy(database: Database, tmp_path: Path, width: int, theme: str) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints, width=width, theme=theme) as page:
        for table in ("devices", "tenants", "integrations"):
            judged(database, f"UPDATE {table} SET name = repeat('W', 120) RETURNING true")
        judged(database, "UPDATE deliveries SET last_error = repeat('W', 300) RETURNING true")
        await log_in(page, url, "boss")
        for path in PAGES:
            await page.goto(f"{url}/operator/{path}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert await page.locator("h1").count() == 1, path
            assert await violations(page) == [], path
    assert complaints == []


async def test_what_is_unfolded_stays_so_when_the_page_reads_itself_anew(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints) as page:
        await log_in(page, url, "boss")
        await page.goto(f"{url}/operator/deliveries")
        await page.get_by_text("Updates by itself").wait_for()
        await page.get_by_text("1 attempt").first.click()
        unfolded = await page.locator("details[open]").get_attribute("id")
        judged(database, "UPDATE integrations SET name = 'renamed' RETURNING true")
        services.board.note("tenant-b", Kind.DELIVERIES, None)
        await page.get_by_text("renamed").first.wait_for()
        await page.locator("details[open]").wait_for()
        assert await page.locator("details[open]").get_attribute("id") == unfolded
        assert await violations(page) == []
    assert complaints == []
    look = "SELECT count(*) FROM audit_log WHERE resource = 'GET /operator/deliveries'"
    assert judged(database, look) == [(1,)], "what it read again is covered"


async def test_a_tenant_is_removed_by_typing_its_id(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints) as page:
        judged(
            database,
            "UPDATE tenants SET status = 'SUSPENDED', suspended_at = now() - interval '11 s'"
            " WHERE tenant_id = 'tenant-a' RETURNING true",
        )
        await log_in(page, url, "boss")
        await page.goto(f"{url}/operator/tenants/tenant-a")
        await page.get_by_role("link", name="Remove").click()
        await page.get_by_label("Its id, to confirm").fill("tenant-a")
        await page.get_by_role("button", name="Remove it for good").click()
        await page.get_by_text("Removed, with everything").wait_for()
        assert await page.get_by_role("link", name="tenant-a").count() == 0
    assert complaints == []
