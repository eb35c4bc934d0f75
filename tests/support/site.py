"""The application as several tests have it: it hears what the database tells, and a real browser can open it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_server.notices.post import Post
from pulse_server.web import create_app
from pulse_server.web.services import Services
from support.admin import opened
from support.batches import judged
from support.pages import serving
from support.people import PASSWORD, person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from pulse_core.config import Config
    from pulse_core.plugin_set import Plugins
    from support.database import Database


@asynccontextmanager
async def hearing(database: Database, config: Config, plugins: Plugins) -> AsyncIterator[tuple[str, Services]]:
    """The application at work on what is in the database already, and its address."""
    services = Services(config, SecretBox(database.secret_key), plugins)
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(opened(services, database))
        post = Post(services.hub, services.board, pools.operator, database.dsn("pulse_operator"))
        post.start()
        stack.push_async_callback(post.stop)
        url = await stack.enter_async_context(serving(create_app(services)))
        stack.callback(services.hub.close)
        yield url.replace("127.0.0.1", "localhost"), services


@asynccontextmanager
async def bare_site(database: Database, data_dir: Path) -> AsyncIterator[tuple[str, Services]]:
    """As :func:`hearing`, with the plugins that are usual."""
    config = load_config(None, mode="dev", data_dir=data_dir)
    async with hearing(database, config, load_plugins(config)) as found:
        yield found


@asynccontextmanager
async def site(database: Database, data_dir: Path) -> AsyncIterator[tuple[str, Services]]:
    """As :func:`bare_site`, with a tenant, its device and its admin, ada."""
    judged(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-a') RETURNING true")
    judged(
        database,
        "INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('tenant-a', 'dev-1', 'site-1') RETURNING true",
    )
    person(database)
    async with bare_site(database, data_dir) as found:
        yield found


async def log_in(page: Page, url: str, name: str = "ada") -> None:
    """Through the form, to the dashboard."""
    await page.goto(f"{url}/login")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("heading", name="Dashboard", exact=True).wait_for()
