"""The web application on a database, and a customer's program that calls it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from support.admin import Admin, Caller, admin_api
from support.browsing import at_browser
from support.people import person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from quart import Quart

    from support.browsing import Browser
    from support.database import Database


@pytest.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path) as found:
        await found.tenant()
        yield found


@pytest.fixture
async def customer(admin: Admin) -> Caller:
    return await admin.customer()


@pytest.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    """The tenant's admin, ada, who has logged in."""
    return await at_browser(admin, database, Role.CUSTOMER_ADMIN, "ada")


@pytest.fixture
async def apps(database: Database, tmp_path: Path) -> AsyncIterator[list[Quart]]:
    """Two processes' worth, on one database, with ada to log in."""
    async with AsyncExitStack() as stack:
        admins = [await stack.enter_async_context(admin_api(database, tmp_path)) for _ in range(2)]
        await admins[0].tenant()
        person(database)
        yield [each.client.app for each in admins]
