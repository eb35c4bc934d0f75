"""A customer's stores: the query names the tenant, and row-level security does; each guard suffices alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import DeviceKey, PluginConfig, StoredReading
from pulse_core.errors import NotFound
from pulse_core.records import Route
from pulse_core.routing import route
from pulse_core.trial import a_test
from pulse_postgres.alert_requests import AlertRequests
from pulse_postgres.audit_pages import AuditFilter, own_audit_page
from pulse_postgres.connections import TenantPool
from pulse_postgres.counts import count_all
from pulse_postgres.delivery.pages import (
    DeliveryFilter,
    batch_of,
    caused_by,
    deliveries_of_alert,
    delivery_page,
    one_delivery,
)
from pulse_postgres.delivery.requests import DeliveryRequests
from pulse_postgres.device_requests import DeviceChanges, DeviceRequests
from pulse_postgres.devices import DeviceFilter, device_page, one_device
from pulse_postgres.identity.api_tokens import ApiTokens, token_page
from pulse_postgres.identity.user_pages import user_page
from pulse_postgres.identity.user_requests import UserChanges, UserRequests
from pulse_postgres.incidents import AlertFilter, alert_page, one_alert
from pulse_postgres.integration_health import health_of
from pulse_postgres.integration_pages import names_of, targets
from pulse_postgres.integrations import Integrations
from pulse_postgres.paging import Page
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support import two_tenants
from support.batches import NOW_US, judged
from support.tables import tenant_tables
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg

    from support.database import Database

OURS, THEIRS = TENANTS
OURS_ID, THEIR_ID = an_id(OURS), an_id(THEIRS)


@pytest.fixture
async def web(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    two_tenants.fill(database)
    with database.superuser() as hand:
        hand.execute("UPDATE deliveries SET alert_id = delivery_id, cause = 'alert'")
    pool = await open_pool(database.dsn("pulse_web"), name="test", max_size=2)
    yield pool
    await pool.close()


async def readings(pool: Any, tenant_id: str) -> list[StoredReading]:
    """As the store that a customer reads with is opened."""
    store = PostgresTelemetryStore(PluginConfig())
    await store.open(pool)
    return await store.history(DeviceKey(tenant_id, "d"), start_us=0, end_us=NOW_US, limit=10)


async def counts(pool: Any, tenant_id: str) -> int:
    return sum(sum(each.values()) for each in (await count_all(pool, tenant_id=tenant_id)).values())


READS: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
    "integrations": lambda pool, tenant: Integrations(pool).page(tenant),
    "integration": lambda pool, tenant: Integrations(pool).get(tenant, THEIR_ID),
    "stored": lambda pool, tenant: Integrations(pool).stored(tenant, THEIR_ID),
    "routes": lambda pool, tenant: Integrations(pool).route_page(tenant),
    "route": lambda pool, tenant: Integrations(pool).get_route(tenant, THEIR_ID),
    "alerts": lambda pool, tenant: alert_page(pool, AlertFilter(), tenant_id=tenant),
    "alert": lambda pool, tenant: one_alert(pool, tenant, THEIR_ID),
    "deliveries": lambda pool, tenant: delivery_page(pool, DeliveryFilter(), tenant_id=tenant),
    "of an alert": lambda pool, tenant: deliveries_of_alert(pool, tenant, THEIR_ID),
    "delivery": lambda pool, tenant: one_delivery(pool, tenant, THEIR_ID),
    "targets": targets,
    "batch": lambda pool, tenant: batch_of(pool, tenant, THEIR_ID),
    "caused": lambda pool, tenant: caused_by(pool, tenant, THEIR_ID),
    "names": lambda pool, tenant: names_of(pool, tenant, [THEIR_ID]),
    "devices": lambda pool, tenant: device_page(pool, DeviceFilter(), tenant_id=tenant),
    "device": lambda pool, tenant: one_device(pool, tenant, "d"),
    "readings": readings,
    "counts": counts,
    "devices by label": lambda pool, tenant: device_page(pool, DeviceFilter(label="label:value"), tenant_id=tenant),
    "users": lambda pool, tenant: user_page(pool, tenant_id=tenant),
    "user": lambda pool, tenant: UserRequests(pool).get(tenant, THEIR_ID),
    "tokens": lambda pool, tenant: token_page(pool, tenant_id=tenant),
    "audit log": lambda pool, tenant: own_audit_page(pool, AuditFilter(), tenant),
    "replayable": lambda pool, tenant: DeliveryRequests(pool).count(tenant, DeliveryFilter()),
}


async def found(read: Callable[[Any, str], Awaitable[Any]], pool: Any, tenant_id: str) -> bool:
    """Whether there is something to see."""
    try:
        seen = await read(pool, tenant_id)
    except NotFound:
        return False
    return bool(seen.items if isinstance(seen, Page) else seen)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_each_guard_suffices_alone(
    web: asyncpg.Pool[Any], database: Database, read: Callable[[Any, str], Awaitable[Any]]
) -> None:
    judged(
        database, "UPDATE deliveries SET status = 'DEAD', cause = 'fallback', caused_by = delivery_id RETURNING true"
    )
    assert await found(read, TenantPool(web, THEIRS), THEIRS), "the control: they see it themselves"
    assert not await found(read, TenantPool(web, OURS), THEIRS), "the query names them, row-level security us"
    judged(database, "DELETE FROM tenants WHERE tenant_id = %s RETURNING true", OURS)
    for table in tenant_tables(database):
        judged(database, f"DELETE FROM {table} WHERE tenant_id = %s RETURNING true", OURS)
    superuser = await open_pool(database.url, name="test", max_size=1)
    try:
        assert not await found(read, superuser, OURS), "nobody but the query stands guard"
    finally:
        await superuser.close()


WRITES: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
    "update": lambda pool, tenant: Integrations(pool).update(tenant, THEIR_ID, name="mine", actor="t"),
    "delete": lambda pool, tenant: Integrations(pool).delete(tenant, THEIR_ID, actor="t"),
    "route to": lambda pool, tenant: Integrations(pool).create_route(Route(tenant, THEIR_ID, THEIR_ID), actor="t"),
    "change route": lambda pool, tenant: Integrations(pool).update_route(Route(tenant, THEIR_ID, THEIR_ID), actor="t"),
    "delete route": lambda pool, tenant: Integrations(pool).delete_route(tenant, THEIR_ID, actor="t"),
    "replay": lambda pool, tenant: DeliveryRequests(pool).replay(tenant, THEIR_ID, actor="t"),
    "cancel": lambda pool, tenant: DeliveryRequests(pool).cancel(tenant, THEIR_ID, actor="t"),
    "acknowledge": lambda pool, tenant: AlertRequests(pool, route).acknowledge(tenant, THEIR_ID, actor="t"),
    "close": lambda pool, tenant: AlertRequests(pool, route).close(tenant, THEIR_ID, actor="t"),
    "change device": lambda pool, tenant: DeviceRequests(pool).change(
        tenant, "only-theirs", DeviceChanges(name="mine"), actor="t"
    ),
    "change user": lambda pool, tenant: UserRequests(pool).change(
        tenant, THEIR_ID, UserChanges(disabled=True), actor="t"
    ),
    "remove user": lambda pool, tenant: UserRequests(pool).remove(tenant, THEIR_ID, actor="t"),
    "revoke token": lambda pool, tenant: ApiTokens(pool).revoke(THEIR_ID, tenant_id=tenant, actor="t"),
    "test": lambda pool, tenant: DeliveryRequests(pool).test(
        tenant, THEIR_ID, lambda made: a_test(tenant, made, "t"), actor="t"
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_nothing_of_another_tenant_is_changed(
    web: asyncpg.Pool[Any], database: Database, write: Callable[[Any, str], Awaitable[Any]]
) -> None:
    look = "SELECT to_jsonb(t)::text FROM {} t ORDER BY 1"
    judged(database, "UPDATE devices SET name = 'theirs' WHERE tenant_id = %s RETURNING true", THEIRS)
    judged(
        database,
        "INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%s, 'only-theirs', 's') RETURNING true",
        THEIRS,
    )
    tables = sorted(tenant_tables(database))
    before = [judged(database, look.format(table)) for table in tables]
    superuser = await open_pool(database.url, name="test", max_size=1)
    try:
        for pool, tenant in ((TenantPool(web, OURS), THEIRS), (superuser, OURS)):
            with pytest.raises(NotFound):
                await write(pool, tenant)
    finally:
        await superuser.close()
    assert [judged(database, look.format(table)) for table in tables] == before


async def test_the_health_of_another_tenants_integration_shows_nothing(
    web: asyncpg.Pool[Any], database: Database
) -> None:
    judged(database, "UPDATE deliveries SET status = 'DELIVERED', finished_at = now() RETURNING true")
    theirs = (await health_of(TenantPool(web, THEIRS), THEIRS, [THEIR_ID]))[THEIR_ID]
    assert theirs["last_success_at"]
    assert (theirs["attempts_24h"], theirs["breaker"]["state"]) == (1, "OPEN")
    superuser = await open_pool(database.url, name="test", max_size=1)
    try:
        for pool, tenant in ((TenantPool(web, OURS), THEIRS), (superuser, OURS)):
            seen = (await health_of(pool, tenant, [THEIR_ID]))[THEIR_ID]
            assert (seen["last_success_at"], seen["attempts_24h"], seen["breaker"]) == (None, 0, {"state": "CLOSED"})
    finally:
        await superuser.close()


async def test_what_fails_leaves_nothing_behind_and_the_connection_forgets_its_tenant(
    web: asyncpg.Pool[Any], database: Database
) -> None:
    pool = TenantPool(web, OURS)
    assert await pool.fetchval("SELECT count(*) FROM integrations") == 1
    assert await pool.execute("UPDATE integrations SET name = 'x'") == "UPDATE 1"
    assert list(await pool.fetchrow("SELECT name FROM integrations") or ()) == ["x"]
    async with web.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM integrations") == 0
    with pytest.raises(RuntimeError, match="half way"):
        await half_way(pool)
    assert judged(database, "SELECT name FROM integrations WHERE tenant_id = %s", OURS) == [("x",)]


async def half_way(pool: TenantPool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("UPDATE integrations SET name = 'y'")
        raise RuntimeError("half way")
