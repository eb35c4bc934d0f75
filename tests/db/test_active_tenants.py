"""Which tenants may log in: a suspended one is out within seconds, and a query is not made for every request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import StoreUnavailable
from pulse_postgres.identity.active_tenants import HOLDS_S, ActiveTenants
from pulse_postgres.pool import open_pool

if TYPE_CHECKING:
    from support.database import Database


def change(database: Database, statement: str) -> None:
    with database.superuser() as connection:
        connection.execute(statement)


async def test_suspended_removed_and_unknown_tenants_are_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HOLDS_S <= 2
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    change(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-a'), ('tenant-b')")
    async with await open_pool(database.dsn("pulse_auth"), name="test") as pool:
        tenants = ActiveTenants(pool)
        assert [await tenants.is_active(each) for each in ("tenant-a", "tenant-b", "tenant-z", "")] == [
            True,
            True,
            False,
            False,
        ]
        change(database, "UPDATE tenants SET status = 'SUSPENDED', suspended_at = now() WHERE tenant_id = 'tenant-a'")
        change(database, "DELETE FROM tenants WHERE tenant_id = 'tenant-b'")
        change(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-z')")
        assert await tenants.is_active("tenant-a"), "it was looked up a moment ago"
        clock[0] += HOLDS_S
        assert [await tenants.is_active(each) for each in ("tenant-a", "tenant-b", "tenant-z")] == [False, False, True]
        clock[0] += HOLDS_S
        change(database, "UPDATE tenants SET status = 'ACTIVE', suspended_at = NULL WHERE tenant_id = 'tenant-a'")
        assert await tenants.is_active("tenant-a")


async def test_a_database_that_is_away_lets_nobody_in(database: Database) -> None:
    pool = await open_pool(database.dsn("pulse_auth"), name="test")
    tenants = ActiveTenants(pool, holds_s=0)
    assert not await tenants.is_active("tenant-a")
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await tenants.is_active("tenant-a")


async def test_only_so_many_are_remembered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_postgres.identity.active_tenants._REMEMBERED", 2)
    async with await open_pool(database.dsn("pulse_auth"), name="test") as pool:
        tenants = ActiveTenants(pool)
        for number in range(5):
            await tenants.is_active(f"tenant-{number}")
        assert list(tenants._seen._entries) == ["tenant-3", "tenant-4"]
