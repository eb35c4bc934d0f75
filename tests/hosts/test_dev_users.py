"""The development users: made in dev mode, and a reason for production not to start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_accounts.development import PASSWORD, USERS
from pulse_core.errors import ConfigError
from pulse_postgres.pool import open_pool
from pulse_server import dev_users
from support.admin import admin_api
from support.batches import judged
from support.people import Door, hashed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from support.database import Database

CONTRACT = {
    ("customer1", "customer_admin", "tenant-a"),
    ("viewer1", "customer_viewer", "tenant-a"),
    ("customer2", "customer_admin", "tenant-b"),
    ("operator1", "operator", ""),
    ("admin1", "operator_admin", ""),
}


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    made = await open_pool(database.dsn("pulse_admin"), name="test", max_size=2)
    yield made
    await made.close()


def arrange(database: Database, statement: str, *values: Any) -> None:
    with database.superuser() as connection:
        connection.execute(statement.encode(), values)


async def test_they_are_those_of_the_contract_and_can_log_in(
    database: Database, pool: asyncpg.Pool[Any], tmp_path: Path
) -> None:
    arrange(database, "INSERT INTO tenants VALUES ('tenant-a'), ('tenant-b')")
    await dev_users.make(pool)
    assert set(judged(database, "SELECT username, role, tenant_id FROM users")) == CONTRACT
    async with admin_api(database, tmp_path) as admin:
        for each in USERS:
            assert await Door(admin.client).status(
                (await Door(admin.client).tokens(each.username, PASSWORD))["access_token"]
            )


async def test_making_them_again_changes_nothing(database: Database, pool: asyncpg.Pool[Any]) -> None:
    await dev_users.make(pool)
    assert {name for (name,) in judged(database, "SELECT username FROM users")} == {"operator1", "admin1"}
    arrange(database, "UPDATE users SET password_hash = 'mine', disabled_at = now() WHERE username = 'admin1'")
    arrange(database, "INSERT INTO tenants VALUES ('tenant-a')")
    await dev_users.make(pool)
    assert judged(database, "SELECT password_hash, disabled_at IS NULL FROM users WHERE username = 'admin1'") == [
        ("mine", False)
    ]
    assert len(judged(database, "SELECT FROM users")) == 4
    assert len(judged(database, "SELECT FROM audit_log WHERE action = 'user.create' AND actor = 'development'")) == 4


async def test_production_does_not_start_while_one_can_log_in(
    database: Database, pool: asyncpg.Pool[Any], tmp_path: Path
) -> None:
    await dev_users.make(pool)
    with pytest.raises(ConfigError, match=r"operator1, admin1; .*pulse users disable NAME.*pulse users passwd NAME"):
        await start(database, tmp_path)
    arrange(database, "UPDATE users SET disabled_at = now() WHERE username = 'operator1'")
    with pytest.raises(ConfigError, match="knows: admin1;"):
        await start(database, tmp_path)
    arrange(database, "UPDATE users SET password_hash = %s WHERE username = 'admin1'", hashed())
    await start(database, tmp_path)
    arrange(database, "UPDATE users SET disabled_at = NULL")
    with pytest.raises(ConfigError, match="knows: operator1;"):
        await start(database, tmp_path)


async def test_a_suspended_tenant_is_no_excuse(database: Database, pool: asyncpg.Pool[Any], tmp_path: Path) -> None:
    arrange(database, "INSERT INTO tenants VALUES ('tenant-a')")
    await dev_users.make(pool)
    arrange(database, "DELETE FROM users WHERE tenant_id = ''")
    arrange(database, "UPDATE tenants SET status = 'SUSPENDED'")
    with pytest.raises(ConfigError, match="customer1, viewer1"):
        await start(database, tmp_path)


async def start(database: Database, folder: Path) -> None:
    async with admin_api(database, folder, mode="prod"):
        pass
