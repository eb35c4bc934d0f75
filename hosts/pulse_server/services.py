"""What the platform lends to a plugin's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core.outbound import HttpClient, Outbound

if TYPE_CHECKING:
    from pulse_core.config import Config


@dataclass(frozen=True)
class PluginServices:
    """See :class:`pulse_core.api.Services`."""

    http: HttpClient
    outbound: Outbound
    log: Any


class Lender:
    """Makes the services of one process; every plugin gets the same guard and client, and a logger of its own."""

    def __init__(self, config: Config) -> None:
        self.outbound = Outbound(config.outbound.allow)
        self.http = HttpClient(self.outbound, allow_plain_http=config.allows_plain_http)

    def to(self, plugin: str) -> PluginServices:
        """The services of the plugin called ``plugin``."""
        return PluginServices(self.http, self.outbound, structlog.get_logger(f"plugin.{plugin}").bind(plugin=plugin))

    async def close(self) -> None:
        """Give connections back."""
        await self.http.close()
