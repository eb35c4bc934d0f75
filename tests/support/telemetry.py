"""The telemetry store in PostgreSQL, opened as one of the login roles."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pulse_core.api import PluginConfig
from pulse_postgres.connections import TenantPool
from pulse_postgres.pool import open_pool
from pulse_postgres.telemetry.store import PostgresTelemetryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database


@asynccontextmanager
async def a_store(
    database: Database,
    role: str = "pulse_pipeline",
    kind: type[PostgresTelemetryStore] = PostgresTelemetryStore,
    *,
    tenant_id: str = "",
) -> AsyncIterator[PostgresTelemetryStore]:
    """Open a store; with ``tenant_id``, over a pool that is bound to that tenant."""
    pool = await open_pool(database.dsn(role), name="test")
    store = kind(PluginConfig())
    await store.open(TenantPool(pool, tenant_id) if tenant_id else pool)
    try:
        yield store
    finally:
        await store.close()
        await pool.close()
