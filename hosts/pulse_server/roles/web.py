"""The web role: the admin API, and in the demo a live page."""

from __future__ import annotations

from typing import ClassVar

from pulse_postgres.provisioning import Activation
from pulse_server import dev_users
from pulse_server.activation import ActivationApp
from pulse_server.bookkeeping import Bookkeeper
from pulse_server.forgetting import Forgetting
from pulse_server.roles.base import Host, Role
from pulse_server.serving import HttpServer, bind
from pulse_server.web import Front, create_app
from pulse_server.web.proxies import Proxied
from pulse_server.web.services import Pools, Services


class WebRole(Role):
    """People and programs."""

    name: ClassVar[str] = "web"
    login: ClassVar[str] = "pulse_operator"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._server: HttpServer | None = None

    async def start(self) -> None:
        """Answer at once; until the database is there, with 503."""
        config = self.host.config
        activation = ActivationApp()
        services = Services(config, self.host.box, self.host.plugins)
        front = Front(create_app(services), self.health, activation)
        proxied = Proxied(front, config.web.trusted_proxies)
        self._server = HttpServer(proxied, bind(config.web, "web"))
        await self._server.start()
        await self.database_ready()
        pools = Pools(
            admin=await self.pool("pulse_admin", as_asked=True),
            operator=await self.pool("pulse_operator", as_asked=True),
            auth=await self.pool("pulse_auth", max_size=4),
            web=await self.pool("pulse_web", as_asked=True),
        )
        if config.mode == "dev" and "accounts" in config.plugins.enabled:
            await dev_users.make(pools.admin)
        await services.open(pools)
        self.resources.push_async_callback(services.close)
        activation.store = Activation(pools.auth)
        self.health.add("database", self.answers(pools.operator))
        bookkeeper = Bookkeeper(services.ledger)
        self.resources.push_async_callback(bookkeeper.stop)
        bookkeeper.start()
        forgetting = Forgetting(pools.admin)
        self.resources.push_async_callback(forgetting.stop)
        forgetting.start()
        self.announce({"http": self._server.url})

    async def stop(self) -> None:
        """Finish the requests in flight."""
        self.withdraw()
        if self._server is not None:
            await self._server.stop()
        await self.resources.aclose()
