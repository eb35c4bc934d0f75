"""``/openapi.json`` and ``/docs``: one document for all, shown by installed files under the strict policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_postgres.pool import open_pool
from support.chromium import CHROMIUM, browsing, served

if TYPE_CHECKING:
    from pathlib import Path

    from support.admin import Admin
    from support.database import Database


async def test_the_document_is_the_same_for_all_and_known_by_its_etag(admin: Admin) -> None:
    customer = await admin.customer()
    answers = [
        await admin.client.get("/openapi.json", headers=headers)
        for headers in ({}, customer.headers, {"Accept": "text/html", "Host": "elsewhere.example"})
    ]
    assert len({await answer.get_data(as_text=False) for answer in answers}) == 1
    (etag,) = {answer.headers["ETag"] for answer in answers}
    again = await admin.client.get("/openapi.json", headers={"If-None-Match": etag})
    assert (again.status_code, await again.get_data(as_text=False)) == (304, b"")
    assert (await admin.client.get("/openapi.json", headers={"If-None-Match": '"another"'})).status_code == 200


async def test_the_page_names_no_other_host_and_has_no_script_of_its_own(admin: Admin) -> None:
    answer = await admin.client.get("/docs")
    html = await answer.get_data(as_text=True)
    assert re.findall(r"https?://", html) == []
    assert re.findall(r"<script>|<style|\son\w+=", html) == []
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    for asset in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert (await admin.client.get(asset)).status_code == 200, asset


@pytest.mark.parametrize("name", ["index.html", "..", "../flask_swagger_ui.py", "oauth2-redirect.html", "LICENSE", ""])
async def test_no_other_file_of_the_package_is_served(admin: Admin, name: str) -> None:
    assert (await admin.client.get(f"/docs/assets/{name}")).status_code == 404


TOO_WIDE = """(() => {
    const scrolls = one => one && (getComputedStyle(one).overflowX !== "visible" || scrolls(one.parentElement))
    return [...document.body.querySelectorAll("*")]
        .filter(one => one.getBoundingClientRect().right > innerWidth && !scrolls(one.parentElement))
        .map(one => `${one.tagName} ${one.className}`).join("; ")
})()"""
"""Which elements make the page wider than the screen."""


async def minted(database: Database) -> str:
    pool = await open_pool(database.dsn("pulse_admin"), name="test", max_size=1)
    try:
        return (await ApiTokens(pool).create("for the page", Role.OPERATOR, tenant_id=None, days=1, actor="test")).token
    finally:
        await pool.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1280, 375])
async def test_a_browser_shows_the_document_and_tries_it_with_a_pasted_token(
    database: Database, tmp_path: Path, width: int
) -> None:
    complaints: list[str] = []
    elsewhere: list[str] = []
    async with served(database, tmp_path) as url, browsing(width, complaints) as page:
        page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else elsewhere.append(asked.url))
        await page.goto(f"{url}docs")
        await page.wait_for_selector(".opblock-tag")
        assert await page.title() == "API of OpsConductor-Pulse"
        await page.screenshot(path=tmp_path / f"docs-{width}.png")
        await page.click("button.authorize")
        await page.fill("input[aria-label='auth-bearer-value']", await minted(database))
        await page.click("button[aria-label='Apply credentials']")
        await page.click("button.btn-done")
        await page.click("h3[id='operations-tag-operator_dashboard'] button")
        await page.click("#operations-operator_dashboard-get_operator_dashboard .opblock-summary-control")
        await page.click("#operations-operator_dashboard-get_operator_dashboard button.execute")
        await page.wait_for_selector(".live-responses-table .response-col_status:has-text('200')")
        await page.screenshot(path=tmp_path / f"docs-open-{width}.png")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, await page.evaluate(TOO_WIDE)
    assert complaints == []
    assert elsewhere == []
