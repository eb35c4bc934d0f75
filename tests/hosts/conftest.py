"""The web application on a database, and a customer's program that calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.admin import Admin, Caller, admin_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database


@pytest.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path) as found:
        await found.tenant()
        yield found


@pytest.fixture
async def customer(admin: Admin) -> Caller:
    return await admin.customer()
