"""What the web application works with: stores, channels, the box for secrets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from quart import current_app

from pulse_core.errors import StoreUnavailable
from pulse_core.notices import Board
from pulse_core.telemetry_store import asking
from pulse_postgres.audit import AuditLog
from pulse_postgres.connections import TenantPool
from pulse_postgres.device_requests import DeviceRequests
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_postgres.identity.browser_sessions import PostgresBrowserSessions
from pulse_postgres.identity.token_check import TokenCheck
from pulse_postgres.identity.user_requests import UserRequests
from pulse_postgres.integrations import Integrations
from pulse_postgres.ledger import Ledger
from pulse_postgres.metric_catalogue import MetricCatalogue
from pulse_postgres.overview import Overview
from pulse_postgres.provisioning import Provisioning
from pulse_postgres.request_keys import RequestKeys
from pulse_postgres.settings import PostgresSettings
from pulse_postgres.tenants import Tenants
from pulse_server.new_passwords import NewPasswords
from pulse_server.notices.hub import Hub
from pulse_server.notices.watching import Watches
from pulse_server.providers import Providers
from pulse_server.sessions.desk import BrowserSessions
from pulse_server.web.covered import Covered
from pulse_server.web.metrics_seen import MetricsSeen
from pulse_server.web.removals import Removals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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
    tokens: TokenCheck
    sessions: BrowserSessions


class Services:
    """Closed at first: whoever asks a store of it then gets StoreUnavailable."""

    def __init__(self, config: Config, box: SecretBox, plugins: Plugins) -> None:
        self.config = config
        self.plugins = plugins
        self.box = box
        self.new_passwords = NewPasswords(config)
        self.board = Board()
        """What requests have changed."""
        self.hub = Hub()
        """Who looks on."""
        self.watches = Watches()
        """Whether they still may."""
        self.covered = Covered()
        """What pages of operators may read again without another line in the audit log."""
        self.removals = Removals()
        """Tenants that are being removed."""
        self.export_asked = asyncio.Event()
        """Set when a tenant has asked for a file of readings."""
        self.metrics_seen = MetricsSeen(self.telemetry_of)
        """Which metrics tenants' devices send."""
        self._stores: _Stores | None = None

    async def open(self, pools: Pools) -> None:
        """Get to work."""
        store_type = self.plugins.telemetry_store
        telemetry = store_type(self.plugins.config_of(store_type))
        await telemetry.open(pools.operator)
        providers = await Providers.opened(self.plugins, self.config, self.box, pools.auth)
        kept = PostgresBrowserSessions(pools.auth, self.config.sessions.idle_s)
        sessions = BrowserSessions(kept, providers, self.box, self.config.sessions)
        self._stores = _Stores(pools, telemetry, providers, TokenCheck(pools.auth), sessions)

    async def close(self) -> None:
        """Give back what :meth:`open` took; the pools are their owner's."""
        await self.removals.stop()
        await self.metrics_seen.stop()
        if self._stores is not None:
            await self._stores.sessions.close()
            await self._stores.providers.close()
            await self._stores.telemetry.close()
            self._stores = None

    @property
    def tokens(self) -> TokenCheck:
        """Whose API token this is."""
        return self._opened().tokens

    @property
    def providers(self) -> Providers:
        """Whose password, and whose JWT, this is."""
        return self._opened().providers

    @property
    def sessions(self) -> BrowserSessions:
        """Browsers that are logged in."""
        return self._opened().sessions

    @property
    def audit(self) -> AuditLog:
        """What operators look at."""
        return AuditLog(self._opened().pools.operator)

    @property
    def provisioning(self) -> Provisioning:
        """Tenants and devices."""
        return Provisioning(self._opened().pools.admin, self._opened().telemetry)

    @property
    def tenants(self) -> Tenants:
        """Tenants, as operators change them."""
        return Tenants(self._opened().pools.admin, self._opened().telemetry)

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
    def metrics(self) -> MetricCatalogue:
        """What tenants said of their metrics, to read."""
        return MetricCatalogue(self._opened().pools.operator)

    @property
    def ledger(self) -> Ledger:
        """The books."""
        return Ledger(self._opened().pools.operator, readings_kept=self.plugins.telemetry_store.transactional)

    @property
    def devices(self) -> DeviceRequests:
        """What is changed of devices."""
        return DeviceRequests(self._opened().pools.admin)

    @property
    def users(self) -> UserRequests:
        """Users of any tenant, and operators."""
        return UserRequests(self._opened().pools.admin)

    @property
    def api_tokens(self) -> ApiTokens:
        """Programs' tokens, to mint and to revoke."""
        return ApiTokens(self._opened().pools.admin)

    @property
    def pools(self) -> Pools:
        """For lists, each of which is a function of a pool."""
        return self._opened().pools

    @property
    def telemetry(self) -> TelemetryStore:
        """The telemetry store. To read: :meth:`telemetry_of` and :meth:`telemetry_of_all`."""
        return self._opened().telemetry

    @contextmanager
    def telemetry_of_all(self) -> Iterator[TelemetryStore]:
        """Readings of every tenant; ReadingsAway in the block if they cannot be read now."""
        with asking(self.telemetry):
            yield self.telemetry

    @asynccontextmanager
    async def telemetry_of(self, tenant_id: str) -> AsyncIterator[TelemetryStore]:
        """Readings of one tenant alone; ReadingsAway in the block if they cannot be read now.

        In this database row-level security sees to that too; elsewhere, the key.
        """
        if not self.telemetry.transactional:
            with asking(self.telemetry):
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

    def request_keys(self, tenant_id: str, subject: str) -> RequestKeys:
        """The idempotency keys of one caller; ``tenant_id`` is '' for those who have none."""
        pool = self.tenant_pool(tenant_id) if tenant_id else self._opened().pools.admin
        return RequestKeys(pool, tenant_id, subject)

    def _opened(self) -> _Stores:
        if self._stores is None:
            raise StoreUnavailable("starting")
        return self._stores


def services() -> Services:
    """The services of the application that answers the current request."""
    return cast("Services", current_app.extensions["services"])
