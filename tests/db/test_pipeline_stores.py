"""What the pipeline reads of others: the registry, routes and settings, and that it hears of their changes."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.device_connections import STALE_ON
from pulse_core.errors import ConfigError, StoreUnavailable
from pulse_core.records import Device, DeviceKey, Route, partition_of
from pulse_core.settings import Settings
from pulse_postgres.pool import open_pool
from pulse_postgres.registry import PostgresRegistry
from pulse_postgres.routes import PostgresRoutes
from pulse_postgres.settings import PostgresSettings
from support.batches import integrate, judged, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from support.database import Database

_END_LISTENERS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name LIKE 'pulse listen%%'"
)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    opened = await open_pool(database.dsn("pulse_pipeline"), name="test")
    yield opened
    await opened.close()


@pytest.fixture
def registry(pool: asyncpg.Pool[Any], database: Database) -> PostgresRegistry:
    return PostgresRegistry(pool, database.dsn("pulse_pipeline"))


async def test_the_registry_knows_what_admission_needs(registry: PostgresRegistry, database: Database) -> None:
    register(database, "tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1", "tenant-b/dev-3")
    judged(
        database,
        "UPDATE devices SET token_hash = sha256('one'), previous_token_hash = sha256('old'), stale_after_s = 5,"
        " previous_until = timestamptz '2030-01-02 03:04:05.678901Z'"
        " WHERE (tenant_id, device_id) = ('tenant-a', 'dev-1') RETURNING true",
    )
    judged(database, "UPDATE devices SET revoked_at = now() WHERE device_id = 'dev-3' RETURNING true")
    judged(
        database,
        "UPDATE tenants SET stale_after_s = 60.5, stale_on_disconnect = 'lost' WHERE tenant_id = 'tenant-a'"
        " RETURNING true",
    )
    judged(database, "UPDATE tenants SET status = 'SUSPENDED' WHERE tenant_id = 'tenant-b' RETURNING true")
    ((one_hash, old_hash),) = judged(database, "SELECT sha256('one'), sha256('old')")
    full = Device(
        key=DeviceKey("tenant-a", "dev-1"),
        site_id="site-1",
        revoked=False,
        token_hash=one_hash,
        partition=partition_of("tenant-a", "dev-1"),
        previous_token_hash=old_hash,
        previous_until_us=1_893_553_445_678_901,
        stale_after_s=5,
        tenant_active=True,
        stale_on=STALE_ON["lost"],
    )
    devices = {str(device.key): device for device in await registry.load()}
    assert sorted(devices) == ["tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1", "tenant-b/dev-3"]
    assert devices["tenant-a/dev-1"] == full
    assert devices["tenant-a/dev-2"] == Device(
        DeviceKey("tenant-a", "dev-2"),
        "site-1",
        revoked=False,
        token_hash=None,
        partition=partition_of("tenant-a", "dev-2"),
        stale_after_s=60.5,
        stale_on=STALE_ON["lost"],
    )
    assert (devices["tenant-b/dev-3"].revoked, devices["tenant-b/dev-3"].tenant_active) == (True, False)
    assert (devices["tenant-b/dev-1"].stale_after_s, devices["tenant-b/dev-1"].stale_on) == (None, frozenset())
    assert await registry.find(full.key) == full
    assert await registry.find(DeviceKey("tenant-b", "dev-2")) is None
    assert {str(device.key) for device in await registry.of_tenant("tenant-b")} == {
        "tenant-b/dev-1",
        "tenant-b/dev-3",
    }


async def test_a_thousand_devices_at_once_are_read_as_a_whole(registry: PostgresRegistry, database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with aclosing(registry.changes()) as changes:  # type: ignore[type-var]
        assert await anext(changes) is None
        judged(
            database,
            "INSERT INTO devices (tenant_id, device_id, site_id) SELECT 'tenant-a', 'many-' || n, 'site-1'"
            " FROM generate_series(1, 1000) AS n RETURNING true",
        )
        one_by_one = 0
        async with asyncio.timeout(30):
            while await anext(changes) is not None:
                one_by_one += 1
    assert one_by_one <= 100, "a look-up for each would keep the last one out for seconds"


async def test_the_registry_tells_what_changed(registry: PostgresRegistry, database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with aclosing(registry.changes()) as changes, asyncio.timeout(30):  # type: ignore[type-var]
        assert await anext(changes) is None
        judged(database, "UPDATE devices SET revoked_at = now() RETURNING true")
        assert await anext(changes) == DeviceKey("tenant-a", "dev-1")
        judged(database, "UPDATE tenants SET status = 'SUSPENDED' RETURNING true")
        assert await anext(changes) == "tenant-a"
        register(database, "tenant-b/dev:1")
        assert await anext(changes) == DeviceKey("tenant-b", "dev:1")
        judged(database, "DELETE FROM devices WHERE tenant_id = 'tenant-b' RETURNING true")
        assert await anext(changes) == DeviceKey("tenant-b", "dev:1")


async def test_a_lost_change_stream_says_so_and_begins_with_a_resync(
    registry: PostgresRegistry, database: Database
) -> None:
    async with asyncio.timeout(30):
        changes = registry.changes()
        assert await anext(changes) is None
        judged(database, _END_LISTENERS)
        with pytest.raises(StoreUnavailable):
            await anext(changes)
        again = registry.changes()
        assert await anext(again) is None
        await again.aclose()  # type: ignore[attr-defined]


async def test_a_hundred_thousand_devices_are_read_in_a_moment(registry: PostgresRegistry, database: Database) -> None:
    with database.superuser() as hand:
        hand.execute("INSERT INTO tenants SELECT 'tenant-' || x FROM generate_series(0, 9) x")
        hand.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id, token_hash)"
            " SELECT 'tenant-' || x % 10, 'dev-' || x, 'site-1', sha256(x::text::bytea)"
            " FROM generate_series(1, 100000) x"
        )
    began = time.monotonic()
    assert len(await registry.load()) == 100_000
    assert time.monotonic() - began < 5, "0.4 s on a quiet machine"


def a_route(integration_id: uuid.UUID, **fields: Any) -> dict[str, Any]:
    return {"tenant_id": "tenant-a", "route_id": uuid.uuid4(), "integration_id": integration_id, **fields}


def insert_route(database: Database, **fields: Any) -> uuid.UUID:
    names = ", ".join(fields)
    marks = ", ".join(["%s"] * len(fields))
    judged(
        database,
        f"INSERT INTO integration_routes ({names}) VALUES ({marks}) RETURNING true",
        *fields.values(),
    )
    route_id: uuid.UUID = fields["route_id"]
    return route_id


async def test_every_route_is_loaded_with_whether_it_can_fire(pool: asyncpg.Pool[Any], database: Database) -> None:
    register(database, "tenant-a/dev-1")
    routes = PostgresRoutes(pool, database.dsn("pulse_pipeline"))
    on, off = integrate(database), integrate(database)
    judged(database, "UPDATE integrations SET enabled = false WHERE integration_id = %s RETURNING true", off)
    full = Route(
        "tenant-a",
        uuid.uuid4(),
        on,
        name="all that matters",
        alert_types=frozenset({"NO_HEARTBEAT", "X"}),
        severities=frozenset({4, 5}),
        min_severity=3,
        site_ids=frozenset({"site-1"}),
        device_prefixes=("pump-", "fan-"),
        deliver_on=frozenset({"OPEN", "CLOSED"}),
        priority=7,
        fallback_integration_id=off,
        fallback_after_s=60,
    )
    listed = {
        name: list(value) if isinstance(value, (frozenset, tuple)) else value
        for name, value in msgspec.structs.asdict(full).items()
        if name != "integration_enabled"
    }
    insert_route(database, **listed)
    plain = insert_route(database, **a_route(on))
    disabled = insert_route(database, **a_route(on, enabled=False, priority=200))
    aimless = insert_route(database, **a_route(off, priority=300))
    assert await routes.load() == [
        full,
        Route("tenant-a", plain, on),
        Route("tenant-a", disabled, on, priority=200, enabled=False),
        Route("tenant-a", aimless, off, priority=300, integration_enabled=False),
    ]


async def test_changed_routes_and_integrations_are_noticed(pool: asyncpg.Pool[Any], database: Database) -> None:
    register(database, "tenant-a/dev-1")
    async with asyncio.timeout(30):
        changes = PostgresRoutes(pool, database.dsn("pulse_pipeline")).changes()
        await anext(changes)
        integration_id = integrate(database)
        await anext(changes)
        insert_route(database, **a_route(integration_id))
        await anext(changes)
        judged(database, "UPDATE integrations SET enabled = false RETURNING true")
        await anext(changes)
        await changes.aclose()  # type: ignore[attr-defined]


async def test_settings_are_saved_and_heard_of(pool: asyncpg.Pool[Any], database: Database) -> None:
    admins = await open_pool(database.dsn("pulse_admin"), name="test")
    reader = PostgresSettings(pool, database.dsn("pulse_pipeline"))
    writer = PostgresSettings(admins, database.dsn("pulse_admin"))
    async with asyncio.timeout(30):
        assert await reader.load() == Settings()
        changes = reader.changes()
        await anext(changes)
        saved = await writer.save({"MODE": "DEV", "RATE_LIMIT_RPS": 2.5}, "operator1")
        await anext(changes)
        assert await reader.load() == saved == Settings(MODE="DEV", RATE_LIMIT_RPS=2.5)
        await writer.save({"RATE_LIMIT_RPS": 3}, "operator1")
        assert await reader.load() == Settings(MODE="DEV", RATE_LIMIT_RPS=3)
        await changes.aclose()  # type: ignore[attr-defined]
    logged = judged(database, "SELECT actor, action, details FROM audit_log ORDER BY at")
    assert logged == [
        (
            "operator1",
            "settings.save",
            {"MODE": {"old": "PROD", "new": "DEV"}, "RATE_LIMIT_RPS": {"old": 5, "new": 2.5}},
        ),
        ("operator1", "settings.save", {"RATE_LIMIT_RPS": {"old": 2.5, "new": 3}}),
    ]
    await admins.close()


@pytest.mark.parametrize("wrong", [{"RATE_LIMIT_RPS": -1}, {"MODE": "TEST"}, {"NO_SUCH": 1}])
async def test_wrong_settings_are_refused_whole(wrong: dict[str, Any], database: Database) -> None:
    admins = await open_pool(database.dsn("pulse_admin"), name="test")
    settings = PostgresSettings(admins, database.dsn("pulse_admin"))
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        await settings.save({"MAX_PAYLOAD_BYTES": 1024, **wrong}, "operator1")
    assert await settings.load() == Settings()
    assert judged(database, "SELECT FROM audit_log") == []
    await admins.close()
