"""What the web application works with: stores, channels, the box for secrets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from quart import current_app

from pulse_core.errors import StoreUnavailable
from pulse_core.notices import Board
from pulse_postgres.api_tokens import TokenCheck
from pulse_postgres.audit import AuditLog
from pulse_postgres.connections import TenantPool
from pulse_postgres.integrations import Integrations
from pulse_postgres.ledger import Ledger
from pulse_postgres.overview import Overview
from pulse_postgres.provisioning import Provisioning
from pulse_postgres.settings import PostgresSettings
from pulse_postgres.tenants import Tenants
from pulse_server.notices.hub import Hub
from pulse_server.notices.watching import Watches
from pulse_server.providers import Providers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from pulse_core.api import TelemetryStore
    from pulse_core.config import Config
    from pulse_core.plugin_set import Plugins
    from pulse_core.secrets import SecretBox


@dataclass(frozen=True)
class Pools:
    """A pool for each role that the web application logs in as: ``pulse_admin`` and so on."""

    admin: asyncpg.Pool[Any]
    operator: asyncpg.Pool[Any]
    auth: asyncpg.Pool[Any]
    web: asyncpg.Pool[Any]


@dataclass(frozen=True)
class _Stores:
    pools: Pools
    telemetry: TelemetryStore
    providers: Providers


class Services:
    """Closed at first: whoever asks a store of it then gets StoreUnavailable."""

    def __init__(self, config: Config, box: SecretBox, plugins: Plugins) -> None:
        self.config = config
        self.plugins = plugins
        self.box = box
        self.board = Board()
        """What requests have changed."""
        self.hub = Hub()
        """Who looks on."""
        self.watches = Watches()
        """Whether they still may."""
        self._stores: _Stores | None = None

    async def open(self, pools: Pools) -> None:
        """Get to work."""
        store_type = self.plugins.telemetry_store
        telemetry = store_type(self.plugins.config_of(store_type))
        await telemetry.open(pools.operator)
        providers = await Providers.opened(self.plugins, self.config, self.box, pools.auth)
        self._stores = _Stores(pools, telemetry, providers)

    async def close(self) -> None:
        """Give back what :meth:`open` took; the pools are their owner's."""
        if self._stores is not None:
            await self._stores.providers.close()
            await self._stores.telemetry.close()
            self._stores = None

    @property
    def tokens(self) -> TokenCheck:
        """Whose API token this is."""
        return TokenCheck(self._opened().pools.auth)

    @property
    def providers(self) -> Providers:
        """Whose password, and whose JWT, this is."""
        return self._opened().providers

    @property
    def audit(self) -> AuditLog:
        """What operators look at."""
        return AuditLog(self._opened().pools.operator)

    @property
    def provisioning(self) -> Provisioning:
        """Tenants and devices."""
        return Provisioning(self._opened().pools.admin)

    @property
    def tenants(self) -> Tenants:
        """Tenants, as operators change them."""
        return Tenants(self._opened().pools.admin)

    @property
    def settings(self) -> PostgresSettings:
        """The live settings, to load and to save."""
        return PostgresSettings(self._opened().pools.admin)

    @property
    def integrations(self) -> Integrations:
        """Integrations and routes."""
        return Integrations(self._opened().pools.admin)

    @property
    def overview(self) -> Overview:
        """The read side across tenants."""
        return Overview(self._opened().pools.operator)

    @property
    def ledger(self) -> Ledger:
        """The books."""
        return Ledger(self._opened().pools.operator, readings_kept=self.plugins.telemetry_store.transactional)

    @property
    def telemetry(self) -> TelemetryStore:
        """Readings."""
        return self._opened().telemetry

    @asynccontextmanager
    async def telemetry_of(self, tenant_id: str) -> AsyncIterator[TelemetryStore]:
        """Readings of one tenant alone. In this database row-level security sees to that too; elsewhere, the key."""
        if not self.telemetry.transactional:
            yield self.telemetry
            return
        store_type = self.plugins.telemetry_store
        store = store_type(self.plugins.config_of(store_type))
        await store.open(self.tenant_pool(tenant_id))
        try:
            yield store
        finally:
            await store.close()

    def tenant_pool(self, tenant_id: str) -> TenantPool:
        """Where the stores of a customer work: nothing of another tenant is there."""
        return TenantPool(self._opened().pools.web, tenant_id)

    def _opened(self) -> _Stores:
        if self._stores is None:
            raise StoreUnavailable("starting")
        return self._stores


def services() -> Services:
    """The services of the application that answers the current request."""
    return cast("Services", current_app.extensions["services"])
