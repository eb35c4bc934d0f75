"""The application in this process with pages of a test's own, and a real browser that looks at them."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

from pulse_core.config import Listen, load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_server.activation import ActivationApp
from pulse_server.health import Health
from pulse_server.serving import HttpServer, bind
from pulse_server.web import Front, create_app, third_party
from pulse_server.web.services import Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page
    from quart import Quart

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FETCHED = third_party.FOLDER.joinpath(third_party.LICENSES).is_file()
"""Whether npm has brought what pages load."""

_TELL_VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation",
        e => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
"""


def closed_app(data_dir: Path) -> Quart:
    """The application without a database."""
    config = load_config(None, mode="dev", data_dir=data_dir)
    return create_app(Services(config, SecretBox("a secret key of the tests"), load_plugins(config)))


@asynccontextmanager
async def serving(app: Quart) -> AsyncIterator[str]:
    """Its address, while it is served."""
    server = HttpServer(Front(app, Health("web"), ActivationApp()), bind(Listen(port=0), "web"))
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@asynccontextmanager
async def browsing(complaints: list[str], *, width: int = 1280, theme: str = "light") -> AsyncIterator[Page]:
    """A page that tells what it complains about."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
        )
        await page.add_init_script(_TELL_VIOLATIONS)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
        finally:
            await browser.close()


async def violations(page: Page) -> list[str]:
    """What the Content-Security-Policy refused on this page."""
    found: list[str] = await page.evaluate("window.violations")
    return found
