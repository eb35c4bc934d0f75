"""Readings of who is gone: who may forget them, of whom, and that the books know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from pulse_core.api import DeviceKey
from pulse_core.errors import StoreUnavailable
from pulse_postgres.telemetry import size
from support.books import fill, line, statement
from support.telemetry import a_store

if TYPE_CHECKING:
    from support.database import Database

ONE, OTHER, THEIRS = (DeviceKey(*each.split("/")) for each in ("tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1"))
EACH = 6


@pytest.fixture
async def filled(database: Database) -> Database:
    await fill(database, *(f"{each.tenant_id}/{each.device_id}" for each in (ONE, OTHER, THEIRS)))
    return database


async def kept(database: Database) -> dict[str | None, int]:
    """How many readings there are of each tenant, and of all."""
    async with a_store(database, "pulse_operator") as reader:
        return {who: (await reader.size(who)).readings for who in ("tenant-a", "tenant-b", None)}


def change(database: Database, statement_: str) -> None:
    with database.superuser() as hand:
        hand.execute(statement_.encode())


async def test_only_a_device_that_is_not_at_work_is_forgotten(filled: Database) -> None:
    async with a_store(filled, "pulse_admin") as store:
        assert await store.forget_device(ONE) == 0
        assert await kept(filled) == {"tenant-a": 2 * EACH, "tenant-b": EACH, None: 3 * EACH}
        change(filled, "UPDATE devices SET revoked_at = now() WHERE device_id = 'dev-1'")
        assert await store.forget_device(ONE) == EACH
        assert await kept(filled) == {"tenant-a": EACH, "tenant-b": EACH, None: 2 * EACH}
        change(filled, "DELETE FROM devices WHERE tenant_id = 'tenant-a'")
        assert await store.forget_device(OTHER) == EACH
    assert await kept(filled) == {"tenant-a": 0, "tenant-b": EACH, None: EACH}


async def test_only_a_tenant_that_is_not_at_work_is_forgotten(filled: Database) -> None:
    async with a_store(filled, "pulse_admin") as store:
        assert await store.forget_tenant("tenant-a") == 0
        change(filled, "UPDATE tenants SET status = 'SUSPENDED' WHERE tenant_id = 'tenant-a'")
        assert await store.forget_tenant("tenant-a") == 2 * EACH
    assert await kept(filled) == {"tenant-a": 0, "tenant-b": EACH, None: EACH}


async def test_the_books_balance_when_readings_are_forgotten(filled: Database) -> None:
    change(filled, "UPDATE devices SET revoked_at = now() WHERE tenant_id = 'tenant-a' AND device_id = 'dev-1'")
    change(filled, "UPDATE tenants SET status = 'SUSPENDED' WHERE tenant_id = 'tenant-b'")
    async with a_store(filled, "pulse_admin") as store, a_store(filled, "pulse_admin") as other:
        gone = await asyncio.gather(store.forget_device(ONE), other.forget_device(ONE), store.forget_tenant("tenant-b"))
    assert sum(gone) == 2 * EACH
    found = await statement(filled)
    assert line(found, "readings").difference == 0
    assert line(found, "readings").right == {"stored": EACH, "expired": 2 * EACH}


@pytest.mark.parametrize("role", ["pulse_pipeline", "pulse_operator", "pulse_web"])
async def test_nobody_else_forgets(filled: Database, role: str) -> None:
    change(filled, "UPDATE tenants SET status = 'SUSPENDED'")
    async with a_store(filled, role) as store:
        for forget in (store.forget_device(ONE), store.forget_tenant("tenant-a")):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, StoreUnavailable)):
                await forget
    assert (await kept(filled))[None] == 3 * EACH


async def test_a_tenant_hears_of_its_own_share(filled: Database) -> None:
    async with a_store(filled, "pulse_operator") as operator:
        everything = await operator.size()
        its_own = await operator.size("tenant-a")
    async with a_store(filled, "pulse_web", tenant_id="tenant-a") as store:
        assert await store.size("tenant-a") == its_own
        assert (await store.size("tenant-b")).readings == 0
    assert (its_own.readings, everything.readings) == (2 * EACH, 3 * EACH)
    assert its_own.data_bytes is not None
    assert everything.data_bytes is not None
    assert 0 < its_own.data_bytes < everything.data_bytes


async def test_of_many_readings_the_number_is_estimated(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """By day and tenant, within a tenth, once the planner looked."""
    change(
        filled,
        "INSERT INTO telemetry SELECT CASE WHEN x % 4 = 0 THEN 'tenant-b' ELSE 'tenant-a' END, 'd' || x % 50,"
        " now() - x * interval '4 s', x, now(), 'telemetry', 's', x, '{}' FROM generate_series(1, 20000) x;"
        "ANALYZE telemetry",
    )
    monkeypatch.setattr(size, "COUNTED", 1000)
    async with a_store(filled, "pulse_operator") as store:
        sizes = [await store.size(who) for who in (None, "tenant-a", "tenant-b", "tenant-c")]
    assert [size.readings for size in sizes] == pytest.approx([20_018, 15_012, 5_006, 0], rel=0.1)
    assert sizes[0].data_bytes is not None
    assert sizes[2].data_bytes == pytest.approx(sizes[0].data_bytes / 4, rel=0.2)
