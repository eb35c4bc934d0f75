"""A person at a browser, the product as it is run, and a real Keycloak: logged in, renewed, logged out at both."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import async_playwright

from support.keycloak import PASSWORD
from support.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Page

    from support.keycloak import Keycloak

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]

USERS = {
    "customer1": ("customer_admin", "tenant-a", "/customer/devices"),
    "viewer1": ("customer_viewer", "tenant-a", "/customer/devices"),
    "customer2": ("customer_admin", "tenant-b", "/customer/devices"),
    "operator1": ("operator", None, "/operator/devices"),
    "admin1": ("operator_admin", None, "/operator/settings"),
}
BUTTON = "Log in with Keycloak"


@pytest.fixture(scope="module")
def product(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """At the address that the realm sends browsers back to."""
    table = {
        "issuer": keycloak.issuer,
        "client_id": "pulse",
        "client_secret": keycloak.client_secret,
        "name_claim": "preferred_username",
        "button": BUTTON,
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
    made = Product(
        tmp_path_factory.mktemp("product"),
        more_plugins=["accounts", "oidc"],
        config=f"[plugins.oidc]\n{lines}",
        web_port=int(keycloak.public_url.rpartition(":")[2]),
    )
    with made.arranged() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a'), ('tenant-b')")
    made.start()
    yield made
    made.stop()


async def status(page: Page, url: str) -> tuple[int, dict[str, Any]]:
    """Who the browser is to us."""
    answer = await page.request.get(f"{url}/api/auth/status", headers={"Accept": "application/json"})
    return answer.status, await answer.json()


async def log_in(page: Page, url: str, username: str) -> None:
    """By the button, and Keycloak's own page."""
    await page.get_by_role("link", name=BUTTON).or_(page.get_by_role("button", name=BUTTON)).click()
    await page.wait_for_url("**/realms/pulse/**")
    await page.fill("#username", username)
    await page.fill("#password", PASSWORD)
    await page.click("#kc-login")
    await page.wait_for_url(f"{url}/**")


@pytest.mark.parametrize("username", USERS)
async def test_a_user_logs_in_looks_and_logs_out(keycloak: Keycloak, product: Product, username: str) -> None:
    role, tenant_id, path = USERS[username]
    url = keycloak.public_url
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(f"{url}{path}")
        assert page.url.startswith(f"{url}/login?next="), "led to the page to log in on"
        await log_in(page, url, username)
        assert page.url == f"{url}{path}", "and back to where it was"
        code, said = await status(page, url)
        who = {"subject": f"oidc:{username}", "role": role, "tenant_id": tenant_id, "email": f"{username}@example.com"}
        assert (code, said) == (200, said | who)

        renewed = await page.request.post(
            f"{url}/api/auth/refresh",
            headers={"Accept": "application/json", "X-CSRF-Token": said["session"]["csrf_token"], "Origin": url},
        )
        assert renewed.status == 200, await renewed.text()
        code, said = await status(page, url)
        assert (code, said) == (200, said | who), "and with the next tokens, too"

        await log_out(page, url)
        await browser.close()


async def log_out(page: Page, url: str) -> None:
    """By the button; over Keycloak, and back."""
    await page.goto(f"{url}/logout")
    async with page.expect_request(lambda request: "/openid-connect/logout" in request.url):
        await page.locator("form[action='/logout']").last.get_by_role("button", name="Log out").click()
    await page.wait_for_url(f"{url}/login*")
    assert (await status(page, url))[0] == 401


async def test_logged_in_there_is_logged_in_here(keycloak: Keycloak, product: Product) -> None:
    """Keycloak asks once, until one has logged out there too."""
    url = keycloak.public_url
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        await page.goto(f"{url}/login")
        await log_in(page, url, "viewer1")
        for each in await page.context.cookies(url):
            if "pulse" in each["name"]:
                await page.context.clear_cookies(name=each["name"])
        assert (await status(page, url))[0] == 401
        await page.goto(f"{url}/login/oidc")
        await page.wait_for_url(f"{url}/**")
        assert (await status(page, url))[0] == 200

        await log_out(page, url)
        await page.goto(f"{url}/login/oidc")
        await page.wait_for_selector("#password")
        await browser.close()
