"""What a lane commits, made by hand; and what is in the database afterwards."""

from __future__ import annotations

import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import PluginConfig
from pulse_core.records import (
    AlertChange,
    AlertEvent,
    Decision,
    Delivery,
    DeviceKey,
    DeviceState,
    DeviceStatus,
    MsgType,
    Notification,
    OpenAlert,
    Reading,
    Severity,
)
from pulse_postgres.lanes import PostgresLaneStores
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry.store import PostgresTelemetryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database

NOW_US = time.time_ns() // 1000
S = 1_000_000
ALL = range(64)


def register(database: Database, *names: str) -> None:
    """Register devices, written ``tenant/device``, at site-1, and their tenants."""
    with database.superuser() as hand:
        for name in names:
            tenant_id, device_id = name.split("/")
            hand.execute("INSERT INTO tenants (tenant_id) VALUES (%s) ON CONFLICT DO NOTHING", (tenant_id,))
            hand.execute(
                "INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%s, %s, 'site-1')",
                (tenant_id, device_id),
            )


def integrate(database: Database, tenant_id: str = "tenant-a") -> uuid.UUID:
    """Make an integration of a tenant that exists."""
    integration_id = uuid.uuid4()
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
            " VALUES (%s, %s, 'webhook', 'hook', '{}')",
            (tenant_id, integration_id),
        )
    return integration_id


def judged(database: Database, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """What the superuser sees."""
    with database.superuser() as judge:
        return judge.execute(query, arguments).fetchall()


def key(name: str = "tenant-a/dev-1") -> DeviceKey:
    return DeviceKey(*name.split("/"))


def reading(name: str = "tenant-a/dev-1", *, ts_us: int = NOW_US, **changes: Any) -> Reading:
    made = Reading(key(name), ts_us, ts_us, ts_us, MsgType.TELEMETRY, "site-1", 7, {"t": 1.5}, '{"t": 1.5}', "http")
    return msgspec.structs.replace(made, **changes)


def state(name: str = "tenant-a/dev-1", **changes: Any) -> DeviceState:
    made = DeviceState(
        key(name),
        status=DeviceStatus.ONLINE,
        status_since_us=NOW_US - 5,
        status_until_us=NOW_US + 3600 * S,
        last_seen_us=NOW_US,
        last_ts_us=NOW_US - 1,
        last_seq=7,
        source="http",
        memory={"heartbeat": {"alive": True, "seen_us": NOW_US}},
        wake_us={"heartbeat": NOW_US + 30 * S},
    )
    return msgspec.structs.replace(made, **changes)


def alert(name: str = "tenant-a/dev-1", **changes: Any) -> OpenAlert:
    made = OpenAlert(
        alert_id=uuid.uuid4(),
        alert_type="NO_HEARTBEAT",
        fingerprint=f"NO_HEARTBEAT/{key(name).device_id}",
        severity=Severity.MAJOR,
        confidence=0.5,
        summary="silent for 30 s",
        site_id="site-1",
        opened_us=NOW_US,
        details={"threshold_s": 30},
    )
    return msgspec.structs.replace(made, **changes)


def step(
    what: OpenAlert, event: AlertEvent = AlertEvent.OPEN, name: str = "tenant-a/dev-1", at_us: int = NOW_US
) -> tuple[AlertChange, tuple[Decision, ...]]:
    return AlertChange(key(name), event, what, at_us), (Decision(uuid.UUID(int=1), matched=True),)


def delivery(
    what: OpenAlert, integration_id: uuid.UUID, event: AlertEvent = AlertEvent.OPEN, tenant_id: str = "tenant-a"
) -> Delivery:
    delivery_id = uuid.uuid4()
    told = Notification(
        alert_id=str(what.alert_id),
        tenant_id=tenant_id,
        site_id="site-1",
        device_id="dev-1",
        alert_type=what.alert_type,
        severity=4,
        severity_name="MAJOR",
        confidence=0.5,
        summary=what.summary,
        status="OPEN",
        event=event,
        created_at="2026-01-02T03:04:05Z",
        delivery_id=str(delivery_id),
    )
    route_id = uuid.UUID(int=1)
    return Delivery(tenant_id, delivery_id, integration_id, "alert", event, what.alert_id, route_id, told, NOW_US)


@asynccontextmanager
async def lane_stores(database: Database, dsn: str | None = None) -> AsyncIterator[PostgresLaneStores]:
    """Lanes over the default telemetry store; ``dsn`` is for the lanes alone (a proxy's, say)."""
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test")
    telemetry = PostgresTelemetryStore(PluginConfig())
    await telemetry.open(pool)
    try:
        yield PostgresLaneStores(dsn or database.dsn("pulse_pipeline"), telemetry)
    finally:
        await pool.close()
