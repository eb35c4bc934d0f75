"""What a page of a large tenant's devices costs under row-level security: some hundred rows, by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_postgres.connections import TenantPool
from pulse_postgres.devices import DeviceFilter, device_page
from pulse_postgres.pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from support.database import Database

TENANT, DEVICES = "tenant-a", 20_000
_FILL = f"""
    INSERT INTO tenants SELECT 'tenant-' || t FROM unnest(ARRAY['a', 'b', 'c']) t;
    INSERT INTO devices (tenant_id, device_id, site_id, name, labels, created_at)
        SELECT 'tenant-' || t, 'dev-' || lpad(x::text, 6, '0'), 's-' || x % 20, 'n' || x * 7919 % 10000,
               jsonb_build_object('model', 'm' || x % 50, 'floor', x % 3), now() - x * interval '1 minute'
        FROM generate_series(1, {DEVICES}) x, unnest(ARRAY['a', 'b', 'c']) t WHERE t = 'a' OR x <= 500;
    INSERT INTO device_state (tenant_id, device_id, status, status_since, status_until)
        SELECT tenant_id, device_id, CASE WHEN device_id LIKE '%%77' THEN 'STALE' ELSE 'ONLINE' END, now(),
               now() + interval '1 day' FROM devices;
    UPDATE devices SET revoked_at = now() WHERE device_id LIKE '%%99';
    ANALYZE
"""
WANTED: dict[str, tuple[dict[str, Any], str | None, int]] = {
    "as it comes": ({}, None, 50),
    "backwards": ({}, "-device_id", 50),
    "by name": ({}, "name", 50),
    "by site": ({}, "-site_id", 50),
    "by age": ({}, "-created_at", 50),
    "of a site": ({"site_id": "s-3"}, None, 50),
    "by prefix": ({"prefix": "dev-0199"}, None, 50),
    "by a prefix that none has": ({"prefix": "x"}, None, 0),
    "online": ({"status": "ONLINE"}, None, 50),
    "stale": ({"status": "STALE"}, None, 50),
    "revoked": ({"status": "REVOKED"}, None, 50),
    "by a rare label": ({"label": "model:m7"}, None, 50),
    "by a common label": ({"label": "floor:1"}, None, 50),
    "by a label with any value": ({"label": "model"}, None, 50),
    "by a label that none bears": ({"label": "model:none"}, None, 0),
}
MOST_ROWS = 1500
MOST_ROWS_FURTHER_ON = 6000
"""Where a page begins does not reach the index of what it is filtered by: devices are read in order, until 51 fit."""


class Explaining:
    """The tenant's pool, which remembers what it was asked."""

    def __init__(self, pool: TenantPool) -> None:
        self._pool = pool
        self.asked: tuple[str, tuple[Any, ...]] = ("", ())

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        self.asked = (query, arguments)
        return await self._pool.fetch(query, *arguments)

    async def rows_read(self) -> float:
        query, arguments = self.asked
        plan = await self._pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
        return rows_read(msgspec.json.decode(plan)[0]["Plan"])


def rows_read(plan: dict[str, Any]) -> float:
    """Rows that the scans of a plan looked at, filtered ones included."""
    own = 0.0
    if "Scan" in plan["Node Type"]:
        removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return own + sum(rows_read(child) for child in plan.get("Plans", ()))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    with database.superuser() as hand:
        hand.execute(_FILL.replace("%%", "%"))
    opened = await open_pool(database.dsn("pulse_web"), name="test", max_size=1, as_asked=True)
    yield opened
    await opened.close()


async def test_a_page_costs_a_page(pool: asyncpg.Pool[Any]) -> None:
    costly = {}
    for name, (filters, sort, count) in WANTED.items():
        watched = Explaining(TenantPool(pool, TENANT))
        first = await device_page(watched, DeviceFilter(**filters), tenant_id=TENANT, sort=sort)  # type: ignore[arg-type]
        assert len(first.items) == count, name
        costly[name] = await watched.rows_read()
        if first.next:
            await device_page(watched, DeviceFilter(**filters), tenant_id=TENANT, sort=sort, cursor=first.next)  # type: ignore[arg-type]
            following = await watched.rows_read()
            costly[f"{name}, second page"] = following if not filters else following * MOST_ROWS / MOST_ROWS_FURTHER_ON
    assert {name: rows for name, rows in costly.items() if rows > MOST_ROWS} == {}
