"""What the platform lends to an OpenID provider, without a database; and a browser's login without a browser."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import structlog

from pulse_core.outbound import HttpClient, Outbound
from pulse_oidc.config import OidcConfig
from pulse_oidc.provider import OidcProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.api import AuthServices

CALLBACK = "http://127.0.0.1:1/callback"
"""Nobody listens there: it is for addresses alone."""


class Tenants:
    """Those that are active."""

    def __init__(self, *active: str) -> None:
        self.active = set(active)

    async def is_active(self, tenant_id: str) -> bool:
        return tenant_id in self.active


class Lent:
    """See :class:`pulse_core.api.AuthServices`: as much of it as this provider uses."""

    def __init__(self, *, production: bool = False, allow: tuple[str, ...] = ()) -> None:
        self.production = production
        self.public_url = "http://127.0.0.1:1"
        self.tenants = Tenants("tenant-a", "tenant-b")
        self.log = structlog.get_logger("plugin.oidc")
        self._allow = allow

    def http(self, *origins: str) -> HttpClient:
        return HttpClient(Outbound(self._allow, named=origins), allow_plain_http=not self.production)


@asynccontextmanager
async def at_work(issuer: str, lent: Lent | None = None, **config: Any) -> AsyncIterator[OidcProvider]:
    """A provider for this issuer."""
    wanted = OidcConfig(**{"issuer": issuer, "client_id": "pulse", "leeway_s": 5, **config})
    provider = OidcProvider(wanted, cast("AuthServices", lent or Lent()))
    await provider.open()
    try:
        yield provider
    finally:
        await provider.close()
