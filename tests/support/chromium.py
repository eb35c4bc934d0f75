"""A real browser, and the web application behind a real socket for it to look at."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

from pulse_core.config import Listen, load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_server.activation import ActivationApp
from pulse_server.health import Health
from pulse_server.serving import HttpServer, bind
from pulse_server.web import Front, create_app
from pulse_server.web.services import Services
from support.admin import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from support.database import Database

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@asynccontextmanager
async def served(database: Database, data_dir: Path, **overrides: Any) -> AsyncIterator[str]:
    """The application on a port of this machine; yields its address."""
    config = load_config(None, **{"mode": "dev", "data_dir": data_dir, **overrides})
    services = Services(config, SecretBox(database.secret_key), load_plugins(config))
    async with opened(services, database):
        sock = bind(Listen(port=0), "web")
        server = HttpServer(Front(create_app(services), Health("web"), ActivationApp()), sock)
        await server.start()
        try:
            yield f"http://localhost:{sock.getsockname()[1]}/"
        finally:
            await server.stop()


@asynccontextmanager
async def browsing(width: int, complaints: list[str]) -> AsyncIterator[Page]:
    """A page that is ``width`` pixels wide; what the browser complains of is collected."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
        finally:
            await browser.close()
