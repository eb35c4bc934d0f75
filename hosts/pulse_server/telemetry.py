"""The telemetry store that the configuration names, and room in it for every tenant."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core.errors import PermanentFailure
from pulse_core.telemetry_store import asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from pulse_core.api import TelemetryStore
    from pulse_core.plugin_set import Plugins

log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened(plugins: Plugins, pool: Any) -> AsyncIterator[TelemetryStore]:
    """The active store, for as long as the block runs."""
    store = plugins.telemetry_store(plugins.config_of(plugins.telemetry_store))
    with asking(store):
        await store.open(pool)
    try:
        yield store
    finally:
        await store.close()


async def make_room(store: TelemetryStore, tenant_ids: Iterable[str]) -> None:
    """See that every tenant has room: of those made without us, or before this store was the active one, too.

    One for whom there is none keeps no other from it; what then becomes of its readings is the store's to say.

    :raises ReadingsAway: the store does not answer.
    """
    for tenant_id in tenant_ids:
        try:
            with asking(store):
                await store.open_tenant(tenant_id)
        except PermanentFailure as error:
            log.warning("telemetry.no_room", tenant_id=tenant_id, reason=str(error))
