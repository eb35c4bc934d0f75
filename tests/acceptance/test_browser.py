"""A person at a browser, and the product as it is run: logged in, led back, logged out, and nothing left to see."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright

from support.product import Product, status_of
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    made = Product(tmp_path, more_plugins=["accounts"])
    with made.arranged() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a')")
    made.start()
    yield made
    made.stop()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_customer_logs_in_looks_and_logs_out(product: Product, name: str) -> None:
    url = f"http://{name}:{product.web_port}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(f"{url}/customer/integrations?limit=7")
        assert page.url == f"{url}/login?next=%2Fcustomer%2Fintegrations%3Flimit%3D7"
        await page.get_by_label("Name").fill("customer1")
        await page.get_by_label("Password").fill("test123")
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url(f"{url}/customer/integrations?limit=7")
        assert await page.inner_text("h1") == "Integrations"
        doomed = product.process("web")
        doomed.kill()
        doomed.wait(30)
        until_sync(lambda: status_of(f"{url}/readyz") == 200, what="the next web process")
        await page.goto(f"{url}/")
        await page.reload()
        assert page.url == f"{url}/customer/dashboard"
        assert "customer1" in await page.inner_text("body")
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url(f"{url}/login?notice=logged-out")
        for _ in range(3):
            await page.go_back()
            await page.wait_for_load_state()
            said = await page.inner_text("body")
            assert "customer1" not in said
        await page.goto(f"{url}/customer/integrations")
        assert page.url.startswith(f"{url}/login?next=")
        await browser.close()
    with product.superuser() as connection:
        lines = connection.execute("SELECT action FROM audit_log WHERE actor = 'user:customer1'")
        assert sorted(action for (action,) in lines) == ["user.login", "user.logout"]
