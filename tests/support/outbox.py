"""An outbox to arrange and to look into, over PostgreSQL or over its in-memory twin."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from pulse_core.outbox import StoredIntegration
from pulse_core.records import AlertEvent, Delivery, Notification
from pulse_postgres.delivery.outbox import PostgresDeliveries
from pulse_postgres.pool import open_pool
from pulse_postgres.sqltime import at, us
from support.memory_deliveries import MemoryDeliveries

if TYPE_CHECKING:
    import asyncpg

    from pulse_core.ports import DeliveryStore
    from support.database import Database

T0_US = 1_790_000_000_000_000
S = 1_000_000


class State(Struct):
    """A delivery as somebody who looks into the outbox sees it."""

    status: str
    attempts: int
    due_us: int
    first_attempt_us: int | None
    leased_by: str | None
    lease_until_us: int | None
    finished_us: int | None
    last_error: str | None


class Noted(Struct):
    """A row of the attempts."""

    attempt: int
    started_us: int
    duration_ms: int
    outcome: str
    detail: str
    receipt: str


class Made(Struct):
    """A delivery that another one caused."""

    delivery_id: uuid.UUID
    integration_id: uuid.UUID
    event: str
    cause: str
    status: str
    told_id: str
    """The delivery id in its notification."""


class Outbox(Protocol):
    """What the tests arrange with and look at."""

    @property
    def store(self) -> DeliveryStore: ...

    async def integrate(self, tenant_id: str = "tenant-a", **fields: Any) -> StoredIntegration: ...

    async def insert(self, deliveries: list[Delivery]) -> None: ...

    async def state(self, delivery: Delivery) -> State: ...

    async def noted(self, delivery: Delivery) -> list[Noted]: ...

    async def statuses(self) -> dict[str, int]: ...

    async def integration(self, integration: StoredIntegration) -> StoredIntegration: ...

    async def expire_leases(self, at_us: int) -> None: ...

    async def remove(self, integration: StoredIntegration) -> None: ...

    async def route(self, first: StoredIntegration, second: StoredIntegration, after_s: int = 600) -> uuid.UUID: ...

    async def caused(self, delivery: Delivery) -> list[Made]: ...


async def promise(
    outbox: Outbox,
    integration: StoredIntegration,
    *,
    event: str = "OPEN",
    alert_id: uuid.UUID | None = None,
    due_us: int = T0_US,
    cause: str = "alert",
    route_id: uuid.UUID | None = None,
) -> Delivery:
    """Put one delivery into the outbox."""
    delivery = make(integration, event, alert_id, due_us, cause, route_id)
    await outbox.insert([delivery])
    return delivery


def make(
    integration: StoredIntegration,
    event: str = "OPEN",
    alert_id: uuid.UUID | None = None,
    due_us: int = T0_US,
    cause: str = "alert",
    route_id: uuid.UUID | None = None,
) -> Delivery:
    """Build a delivery; an alert of its own, unless told or caused by something else."""
    delivery_id = uuid.uuid4()
    if cause == "alert":
        alert_id, route_id = alert_id or uuid.uuid4(), route_id or uuid.uuid4()
    notification = Notification(
        alert_id=str(alert_id),
        tenant_id=integration.tenant_id,
        site_id="site-1",
        device_id="device-1",
        alert_type="NO_HEARTBEAT",
        severity=4,
        severity_name="MAJOR",
        confidence=0.9,
        summary="nothing heard",
        status="CLOSED" if event == "CLOSED" else "OPEN",
        event=event,
        created_at="2026-09-21T14:13:20Z",
        delivery_id=str(delivery_id),
    )
    return Delivery(
        tenant_id=integration.tenant_id,
        delivery_id=delivery_id,
        integration_id=integration.integration_id,
        cause=cause,
        event=AlertEvent(event),
        alert_id=alert_id,
        route_id=route_id,
        notification=notification,
        due_us=due_us,
    )


class MemoryOutbox:
    """Over the twin."""

    def __init__(self) -> None:
        self.store = MemoryDeliveries()

    async def integrate(self, tenant_id: str = "tenant-a", **fields: Any) -> StoredIntegration:
        integration = new_integration(tenant_id, fields)
        self.store.integrations[integration.integration_id] = integration
        return integration

    async def insert(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self.store.add(delivery)

    async def state(self, delivery: Delivery) -> State:
        row = self.store.rows[delivery.delivery_id]
        return State(**{name: getattr(row, name) for name in State.__struct_fields__})

    async def noted(self, delivery: Delivery) -> list[Noted]:
        attempts = sorted(self.store.attempts[delivery.delivery_id].items())
        return [
            Noted(number, a.started_us, a.duration_ms, str(a.outcome), a.detail, a.receipt) for number, a in attempts
        ]

    async def statuses(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for row in self.store.rows.values():
            counts[row.status] = counts.get(row.status, 0) + 1
        return counts

    async def integration(self, integration: StoredIntegration) -> StoredIntegration:
        return self.store.integrations[integration.integration_id]

    async def expire_leases(self, at_us: int) -> None:
        for row in self.store.rows.values():
            if row.lease_until_us is not None:
                row.lease_until_us = at_us

    async def remove(self, integration: StoredIntegration) -> None:
        del self.store.integrations[integration.integration_id]
        gone = [
            id_ for id_, row in self.store.rows.items() if row.delivery.integration_id == integration.integration_id
        ]
        for delivery_id in gone:
            del self.store.rows[delivery_id]

    async def route(self, first: StoredIntegration, second: StoredIntegration, after_s: int = 600) -> uuid.UUID:
        route_id = uuid.uuid4()
        self.store.fallbacks[route_id] = (second.integration_id, after_s)
        return route_id

    async def caused(self, delivery: Delivery) -> list[Made]:
        return [
            Made(
                one.delivery.delivery_id,
                one.delivery.integration_id,
                str(one.delivery.event),
                one.delivery.cause,
                one.status,
                one.delivery.notification.delivery_id,
            )
            for one in self.store.rows.values()
            if one.delivery.caused_by == delivery.delivery_id
        ]


class PostgresOutbox:
    """Over PostgreSQL: arranged and looked at as the superuser, worked as ``pulse_deliver``."""

    def __init__(self, store: PostgresDeliveries, pool: asyncpg.Pool, admin: asyncpg.Pool) -> None:
        self.store = store
        self._pool = pool
        self._admin = admin

    @classmethod
    async def open(cls, database: Database) -> PostgresOutbox:
        dsn = database.dsn("pulse_deliver")
        pool = await open_pool(dsn, name="test deliver", max_size=4, by_index=True)
        return cls(PostgresDeliveries(pool, dsn), pool, await open_pool(database.url, name="test", max_size=2))

    async def close(self) -> None:
        await self._pool.close()
        await self._admin.close()

    async def integrate(self, tenant_id: str = "tenant-a", **fields: Any) -> StoredIntegration:
        integration = new_integration(tenant_id, fields)
        await self._admin.execute("INSERT INTO tenants (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", tenant_id)
        await self._admin.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id) VALUES ($1, 'device-1', 'site-1')"
            " ON CONFLICT DO NOTHING",
            tenant_id,
        )
        await self._admin.execute(
            "INSERT INTO integrations (tenant_id, integration_id, type, name, enabled, disabled_reason, config,"
            f" secrets, updated_at) VALUES ($1, $2, $3, 'a name', $4, $5, $6, $7, {at('$8::bigint')})",
            tenant_id,
            integration.integration_id,
            integration.type,
            integration.enabled,
            integration.disabled_reason,
            msgspec.json.encode(integration.config).decode(),
            integration.secrets,
            integration.updated_us,
        )
        return integration

    async def insert(self, deliveries: list[Delivery]) -> None:
        alerts = {(d.tenant_id, d.alert_id) for d in deliveries if d.alert_id is not None}
        async with self._admin.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status,"
                " severity, confidence, summary, opened_at) SELECT t, a, 'device-1', 'site-1', 'NO_HEARTBEAT',"
                " a::text, 'OPEN', 4, 0.9, 'x', now() FROM unnest($1::text[], $2::uuid[]) AS x (t, a)"
                " ON CONFLICT DO NOTHING",
                [tenant for tenant, _ in alerts],
                [alert for _, alert in alerts],
            )
            await connection.execute(
                "INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause,"
                f" notification, due_at) SELECT t, d, i, a, r, e, c, n::jsonb, {at('due')} FROM unnest($1::text[],"
                " $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::bigint[])"
                " AS x (t, d, i, a, r, e, c, n, due)",
                [d.tenant_id for d in deliveries],
                [d.delivery_id for d in deliveries],
                [d.integration_id for d in deliveries],
                [d.alert_id for d in deliveries],
                [d.route_id for d in deliveries],
                [str(d.event) for d in deliveries],
                [d.cause for d in deliveries],
                [msgspec.json.encode(d.notification).decode() for d in deliveries],
                [d.due_us for d in deliveries],
            )

    async def state(self, delivery: Delivery) -> State:
        row = await self._admin.fetchrow(
            f"SELECT status, attempts, leased_by, last_error, {us('due_at')} AS due_us,"
            f" {us('first_attempt_at')} AS first_attempt_us, {us('lease_until')} AS lease_until_us,"
            f" {us('finished_at')} AS finished_us FROM deliveries WHERE delivery_id = $1",
            delivery.delivery_id,
        )
        assert row is not None
        return State(**dict(row))

    async def noted(self, delivery: Delivery) -> list[Noted]:
        rows = await self._admin.fetch(
            f"SELECT attempt, {us('started_at')} AS started_us, duration_ms, outcome, detail, receipt"
            " FROM delivery_attempts WHERE delivery_id = $1 ORDER BY attempt",
            delivery.delivery_id,
        )
        return [Noted(**dict(row)) for row in rows]

    async def statuses(self) -> dict[str, int]:
        rows = await self._admin.fetch("SELECT status, count(*) AS n FROM deliveries GROUP BY status")
        return {row["status"]: row["n"] for row in rows}

    async def integration(self, integration: StoredIntegration) -> StoredIntegration:
        row = await self._admin.fetchrow(
            f"SELECT tenant_id, integration_id, type, config, secrets, enabled, disabled_reason,"
            f" {us('updated_at')} AS updated_us FROM integrations WHERE integration_id = $1",
            integration.integration_id,
        )
        assert row is not None
        return StoredIntegration(**{**dict(row), "config": msgspec.json.decode(row["config"])})

    async def route(self, first: StoredIntegration, second: StoredIntegration, after_s: int = 600) -> uuid.UUID:
        route_id = uuid.uuid4()
        await self._admin.execute(
            "INSERT INTO integration_routes (tenant_id, route_id, integration_id, fallback_integration_id,"
            " fallback_after_s) VALUES ($1, $2, $3, $4, $5)",
            first.tenant_id,
            route_id,
            first.integration_id,
            second.integration_id,
            after_s,
        )
        return route_id

    async def caused(self, delivery: Delivery) -> list[Made]:
        rows = await self._admin.fetch(
            "SELECT delivery_id, integration_id, event, cause, status, notification ->> 'delivery_id' AS told_id"
            " FROM deliveries WHERE tenant_id = $1 AND caused_by = $2",
            delivery.tenant_id,
            delivery.delivery_id,
        )
        return [Made(**dict(row)) for row in rows]

    async def expire_leases(self, at_us: int) -> None:
        await self._admin.execute(
            f"UPDATE deliveries SET lease_until = {at('$1::bigint')} WHERE lease_until IS NOT NULL", at_us
        )

    async def remove(self, integration: StoredIntegration) -> None:
        await self._admin.execute("DELETE FROM integrations WHERE integration_id = $1", integration.integration_id)


def new_integration(tenant_id: str, fields: dict[str, Any]) -> StoredIntegration:
    """Build an integration of the type ``recording`` unless told otherwise."""
    defaults: dict[str, Any] = {
        "type": "recording",
        "config": {},
        "secrets": None,
        "enabled": True,
        "disabled_reason": None,
        "updated_us": T0_US,
    }
    return StoredIntegration(tenant_id=tenant_id, integration_id=uuid.uuid4(), **(defaults | fields))
