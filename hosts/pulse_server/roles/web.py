"""The web role: the admin API, and in the demo a live page."""

from __future__ import annotations

from typing import ClassVar

import structlog

from pulse_postgres.provisioning import Activation
from pulse_server import dev_users
from pulse_server.activation import ActivationApp
from pulse_server.bookkeeping import Bookkeeper
from pulse_server.exporting.work import Exporter
from pulse_server.forgetting import Forgetting
from pulse_server.notices.post import Post
from pulse_server.roles.base import Host, Role
from pulse_server.serving import HttpServer, bind
from pulse_server.web import Front, create_app
from pulse_server.web.around.proxies import Proxied
from pulse_server.web.assets import REMEDY
from pulse_server.web.services import Pools, Services

log = structlog.get_logger(__name__)


class WebRole(Role):
    """People and programs."""

    name: ClassVar[str] = "web"
    login: ClassVar[str] = "pulse_operator"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._server: HttpServer | None = None
        self._services: Services | None = None

    async def start(self) -> None:
        """Answer at once; until the database is there, with 503."""
        config = self.host.config
        activation = ActivationApp()
        services = self._services = Services(config, self.host.box, self.host.plugins)
        app = create_app(services)
        if missing := app.extensions["assets"].missing:
            log.warning("web.assets_missing", missing=missing, remedy=REMEDY)
        front = Front(app, self.health, activation)
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
        exporter = Exporter(services, config.exports)
        self.resources.push_async_callback(exporter.stop)
        exporter.start()
        post = Post(services.hub, services.board, pools.operator, self.host.dsn(self.login))
        self.resources.push_async_callback(post.stop)
        for task in post.start():
            self.watch(task, task.get_name())
        self.announce({"http": self._server.url})

    async def stop(self) -> None:
        """Finish the requests in flight."""
        self.withdraw()
        if self._services is not None:
            self._services.hub.close()
        if self._server is not None:
            await self._server.stop()
        await self.resources.aclose()
