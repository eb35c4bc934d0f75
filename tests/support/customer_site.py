"""The application with a tenant and somebody who works there, served to a real browser."""

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

    from support.database import Database


@asynccontextmanager
async def site(database: Database, data_dir: Path) -> AsyncIterator[tuple[str, Services]]:
    """The application with a tenant, its device and its admin, ada; it hears what the database tells."""
    judged(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-a') RETURNING true")
    judged(
        database,
        "INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('tenant-a', 'dev-1', 'site-1') RETURNING true",
    )
    person(database)
    config = load_config(None, mode="dev", data_dir=data_dir)
    services = Services(config, SecretBox(database.secret_key), load_plugins(config))
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(opened(services, database))
        post = Post(services.hub, services.board, pools.operator, database.dsn("pulse_operator"))
        post.start()
        stack.push_async_callback(post.stop)
        url = await stack.enter_async_context(serving(create_app(services)))
        stack.callback(services.hub.close)
        yield url.replace("127.0.0.1", "localhost"), services


async def log_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("Name").fill("ada")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("heading", name="Dashboard").wait_for()
