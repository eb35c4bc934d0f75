"""Deleting an integration: what is left of it, what waited for it, and who comes too late."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pulse_core.errors import NotFound
from pulse_core.records import Route
from pulse_postgres.connections import TenantPool
from pulse_postgres.integrations import Integrations
from pulse_postgres.overview import Overview
from pulse_postgres.pool import open_pool
from support.batches import integrate, judged, register
from support.told import a_delivery, an_attempt
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database

ME = "test"


@pytest.fixture(params=["pulse_admin", "pulse_web"])
async def integrations(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Integrations]:
    """The store as an administrator uses it, and as a customer does."""
    register(database, "tenant-a/dev-1", "tenant-b/dev-1")
    pool = await open_pool(database.dsn(request.param), name="test", max_size=3)
    yield Integrations(pool if request.param == "pulse_admin" else TenantPool(pool, "tenant-a"))
    await pool.close()


async def test_the_ledger_keeps_what_was_sent(integrations: Integrations, database: Database) -> None:
    gone, theirs = integrate(database), integrate(database, "tenant-b")
    sent, waiting = a_delivery(database, gone), a_delivery(database, gone, "RETRYING")
    an_attempt(database, sent)
    foreign = a_delivery(database, theirs, "PENDING", "tenant-b")
    await integrations.delete("tenant-a", gone, actor=ME)
    assert (await integrations.page("tenant-a")).items == []
    for call in (
        integrations.get("tenant-a", gone),
        integrations.stored("tenant-a", gone),
        integrations.update("tenant-a", gone, enabled=True, actor=ME),
        integrations.delete("tenant-a", gone, actor=ME),
    ):
        with pytest.raises(NotFound):
            await call
    pool = await open_pool(database.dsn("pulse_operator"), name="test", max_size=1)
    try:
        assert [each["integration_id"] for each in (await Overview(pool).integrations()).items] == [theirs]
        seen = {each["delivery_id"]: each for each in (await Overview(pool).deliveries()).items}
    finally:
        await pool.close()
    assert {name: each["status"] for name, each in seen.items()} == {
        sent: "DELIVERED",
        waiting: "CANCELLED",
        foreign: "PENDING",
    }
    assert (seen[sent]["integration_name"], len(seen[sent]["attempts"])) == ("hook", 1)


@pytest.mark.parametrize("as_fallback", [False, True])
async def test_a_route_made_while_its_integration_is_deleted_comes_too_late(
    integrations: Integrations, database: Database, as_fallback: bool
) -> None:
    gone, other = integrate(database), integrate(database)
    route = Route("tenant-a", uuid.uuid4(), gone)
    if as_fallback:
        route = Route("tenant-a", uuid.uuid4(), other, fallback_integration_id=gone)
    with psycopg.connect(database.url) as deleting:
        deleting.execute(
            "UPDATE integrations SET enabled = false, deleted_at = now() WHERE integration_id = %s", (gone,)
        )
        late: asyncio.Task[Any] = asyncio.create_task(integrations.create_route(route, actor=ME))
        waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await until(lambda: judged(database, waits), what="the route waits for the deletion")
        deleting.commit()
        with pytest.raises(NotFound):
            await late
    assert judged(database, "SELECT FROM integration_routes") == []
