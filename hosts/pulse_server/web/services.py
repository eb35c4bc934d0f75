"""What the web application works with: stores, channels, the box for secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from quart import current_app

from pulse_core.errors import StoreUnavailable
from pulse_postgres.integrations import Integrations
from pulse_postgres.overview import Overview
from pulse_postgres.provisioning import Provisioning

if TYPE_CHECKING:
    import asyncpg

    from pulse_core.api import TelemetryStore
    from pulse_core.config import Config
    from pulse_core.plugin_set import Plugins
    from pulse_core.secrets import SecretBox


class Services:
    """Closed at first: whoever asks a store of it then gets StoreUnavailable."""

    def __init__(self, config: Config, box: SecretBox, plugins: Plugins) -> None:
        self.config = config
        self.plugins = plugins
        self.box = box
        self._stores: tuple[Provisioning, Integrations, Overview, TelemetryStore] | None = None

    async def open(self, admin: asyncpg.Pool[Any], operator: asyncpg.Pool[Any]) -> None:
        """Get to work. ``admin`` logs in as pulse_admin, ``operator`` as pulse_operator."""
        store_type = self.plugins.telemetry_store
        telemetry = store_type(self.plugins.config_of(store_type))
        await telemetry.open(operator)
        self._stores = (Provisioning(admin), Integrations(admin), Overview(operator), telemetry)

    async def close(self) -> None:
        """Give back what :meth:`open` took; the pools are their owner's."""
        if self._stores is not None:
            await self._stores[3].close()
            self._stores = None

    @property
    def provisioning(self) -> Provisioning:
        """Tenants and devices."""
        return self._opened()[0]

    @property
    def integrations(self) -> Integrations:
        """Integrations and routes."""
        return self._opened()[1]

    @property
    def overview(self) -> Overview:
        """The read side across tenants."""
        return self._opened()[2]

    @property
    def telemetry(self) -> TelemetryStore:
        """Readings."""
        return self._opened()[3]

    def _opened(self) -> tuple[Provisioning, Integrations, Overview, TelemetryStore]:
        if self._stores is None:
            raise StoreUnavailable("starting")
        return self._stores


def services() -> Services:
    """The services of the application that answers the current request."""
    return cast("Services", current_app.extensions["services"])
