"""Our pages in a real browser: its rules for cookies, forms and redirects are stricter than what any test makes up."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import async_playwright

from pulse_core.config import Listen
from pulse_server.serving import HttpServer, bind
from support.admin import admin_api
from support.elsewhere import ADA, Elsewhere, join
from support.people import PASSWORD, person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from support.database import Database

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@asynccontextmanager
async def pages(database: Database, data_dir: Path, provider: Elsewhere | None = None) -> AsyncIterator[str]:
    """The application with a user, ada."""
    sock = bind(Listen(port=0), "web")
    url = f"http://localhost:{sock.getsockname()[1]}"
    async with admin_api(database, data_dir, public_url=url) as admin:
        await admin.tenant()
        person(database)
        if provider is not None:
            join(admin.client.app, provider)
        server = HttpServer(admin.client.app, sock)
        await server.start()
        yield url
        await server.stop()


@asynccontextmanager
async def provider_there() -> AsyncIterator[Elsewhere]:
    """A provider on another site, that lets everybody in at once, and leads everybody back."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        seen.append(path)
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        to = query.get("back") or f"{query.get('redirect_uri')}?state={query.get('state')}&code=ada"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    provider = Elsewhere(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    provider.people = {"ada": ADA}
    provider.seen = seen
    yield provider
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def browsing(width: int = 1280) -> AsyncIterator[tuple[Page, list[str]]]:
    """A page, and what the browser complains of: scripts, styles and forms that the policy forbids, say."""
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda said: complaints.append(said.text) if "Failed to load" not in said.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints
        await browser.close()


async def log_in(page: Page, password: str = PASSWORD) -> None:
    await page.get_by_label("Name").fill("ada")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in", exact=True).click()


@pytest.mark.parametrize("width", [1280, 375])
async def test_one_logs_in_with_the_keyboard_and_sees_what_went_wrong(
    database: Database, tmp_path: Path, width: int
) -> None:
    async with pages(database, tmp_path) as url, browsing(width) as (page, complaints):
        await page.goto(f"{url}/")
        assert page.url == f"{url}/login?next=%2F"
        assert await page.evaluate("document.activeElement.id") == "username"
        await page.keyboard.type("ada")
        await page.keyboard.press("Tab")
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").wait_for()
        assert (await page.title()).startswith("Error: ")
        assert await page.evaluate("document.activeElement.id") == "password"
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="Dashboard").wait_for()
        for path in ("/", "/login", "/logout", "/nothing"):
            await page.goto(url + path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert await page.locator("h1").count() == 1
            assert await page.locator("main").count() == 1
            assert await page.evaluate("document.styleSheets.length") >= 1, path
    assert complaints == []


async def test_nothing_can_be_seen_after_logging_out(database: Database, tmp_path: Path) -> None:
    async with pages(database, tmp_path) as url, browsing() as (page, complaints):
        await page.goto(f"{url}/customer/devices")
        await log_in(page)
        await page.wait_for_url(f"{url}/customer/devices")
        await page.goto(f"{url}/")
        cookies = await page.context.cookies()
        assert "__Host-pulse" in {each["name"] for each in cookies}
        assert all(each["httpOnly"] and each["secure"] and each["sameSite"] == "Lax" for each in cookies)
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url("**/login?notice=logged-out")
        assert "__Host-pulse" not in {each["name"] for each in await page.context.cookies()}
        await page.go_back()
        await page.wait_for_load_state()
        assert "ada" not in await page.inner_text("body")
        assert page.url.startswith(f"{url}/login")
        await page.go_back()
        await page.wait_for_load_state()
        assert "tenant-a" not in await page.inner_text("body")
    assert complaints == []


async def test_one_is_led_to_another_site_and_back_and_out_again(database: Database, tmp_path: Path) -> None:
    async with provider_there() as there, pages(database, tmp_path, there) as url, browsing() as (page, complaints):
        await page.goto(f"{url}/customer/devices?limit=3")
        await page.get_by_role("link", name="Log in with elsewhere").click()
        await page.wait_for_url(f"{url}/customer/devices?limit=3")
        assert "tenant-a" in await page.inner_text("body"), "the cookie came along on the way back from another site"
        await page.goto(f"{url}/")
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url(f"{url}/login")
        assert [urlsplit(each).path for each in there.seen if "favicon" not in each] == ["/authorize", "/logout"]
        await page.goto(f"{url}/customer/devices")
        assert page.url.startswith(f"{url}/login?next=")
    assert complaints == []


FORGED = """
async ([url, token]) => {
  const send = (path, how) => fetch(url + path, {method: "POST", ...how}).then(a => a.status);
  return [
    await send("/customer/deliveries/replay", {headers: {"Content-Type": "application/json"}, body: "{}"}),
    await send("/logout", {}),
    await send("/customer/deliveries/replay",
      {headers: {"Content-Type": "application/json", "X-CSRF-Token": token}, body: "{}"}),
  ];
}
"""


async def test_a_script_of_ours_shows_the_token_and_a_foreign_form_has_none(database: Database, tmp_path: Path) -> None:
    async with pages(database, tmp_path) as url, browsing() as (page, _):
        await page.goto(f"{url}/login")
        await log_in(page)
        await page.get_by_role("heading", name="Dashboard").wait_for()
        status: Any = await page.evaluate("fetch('/api/auth/status').then(a => a.json())")
        assert await page.evaluate(FORGED, [url, status["session"]["csrf_token"]]) == [403, 403, 200]
        await page.route("http://elsewhere.test/", lambda asked: asked.fulfill(content_type="text/html", body="<p>"))
        await page.goto("http://elsewhere.test/")
        async with page.expect_request(f"{url}/logout") as sent, page.expect_navigation():
            await page.evaluate(
                """to => {
                  const form = document.createElement("form");
                  form.method = "post"; form.action = to; document.body.append(form); form.submit();
                }""",
                f"{url}/logout",
            )
        assert (await sent.value).method == "POST"
        await page.goto(f"{url}/")
        assert await page.get_by_role("heading", name="Dashboard").count() == 1
