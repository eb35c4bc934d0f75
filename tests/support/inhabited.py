"""The application with people and things in it, and its pages: for whoever looks at all of them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_server.reference import bundled_plugins
from pulse_server.web import create_app
from pulse_server.web.services import Services
from support import every_page, lived_in, two_tenants
from support.admin import UNLIMITED, opened
from support.pages import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.browsing import Browser
    from support.database import Database
    from support.every_page import Found

BROKEN = "/broken"
"""A page that fails, for the one that says so."""


class World(NamedTuple):
    """Where it is, and what there is to see."""

    url: str
    browsers: dict[str, Browser]
    found: Found


@asynccontextmanager
async def inhabited(database: Database, data_dir: Path) -> AsyncIterator[World]:
    """All channels, the demo's pages too, and users called as their roles."""
    two_tenants.fill(database)
    lived_in.fill(database)
    enabled = [name for name in bundled_plugins() if name != "oidc"]
    more = {"demo": True, "admin_key": "a key of the tests", "limits": UNLIMITED, "plugins": {"enabled": enabled}}
    config = load_config(None, mode="dev", data_dir=data_dir, **more)
    services = Services(config, SecretBox(database.secret_key), load_plugins(config))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opened(services, database))
        app = create_app(services)
        browsers = await every_page.browsers(app, database)
        found = await every_page.pages(browsers)
        app.add_url_rule(BROKEN, "broken", _break)
        url = await stack.enter_async_context(serving(app))
        stack.callback(services.hub.close)
        yield World(url.replace("127.0.0.1", "localhost"), browsers, found)


async def _break() -> str:
    raise RuntimeError("broken for a test")
