"""What the demo keeps in the database: tenants, devices with fresh tokens, a webhook and its route for each tenant.

Also API tokens for whoever tries it. Running it again changes no more than tokens and signing secrets.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from pulse_core.errors import Conflict
from pulse_core.records import Route
from pulse_core.secrets import SecretBox
from pulse_postgres.accounts import role_dsn
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_postgres.integrations import Integrations
from pulse_postgres.metric_catalogue import MetricCatalogue, Said
from pulse_postgres.pool import open_pool
from pulse_postgres.provisioning import Activation, Provisioning
from pulse_server.configured import sealed
from pulse_server.demo.plan import METRICS, STALE_AFTER_S, TENANTS, Member
from pulse_server.telemetry import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import asyncpg

    from pulse_core.api import Channel
    from pulse_core.plugin_set import Plugins
    from pulse_core.principal import Role

ACTOR = "demo"
_INTEGRATION = "Demo receiver"
_TOKEN_DAYS = 30


class Registry:
    """The provisioning stores, as the demo uses them. An async context manager."""

    def __init__(self, database_url: str, secret_keys: Sequence[str], plugins: Plugins) -> None:
        self._database_url = database_url
        self._plugins = plugins
        self._secret_keys = secret_keys
        self._box = SecretBox(*secret_keys)
        self._pools = AsyncExitStack()

    async def __aenter__(self) -> Self:
        admin, auth = await self._pool("pulse_admin"), await self._pool("pulse_auth")
        self._admin = admin
        store = await self._pools.enter_async_context(opened(self._plugins, admin))
        self._provisioning = Provisioning(admin, store)
        self._integrations = Integrations(admin)
        self._api_tokens = ApiTokens(admin)
        self._activation = Activation(auth)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pools.aclose()

    async def _pool(self, login: str) -> asyncpg.Pool[Any]:
        dsn = role_dsn(self._database_url, login, *self._secret_keys)
        pool = await open_pool(dsn, name="demo", max_size=2)
        self._pools.push_async_callback(pool.close)
        return pool

    async def tenants(self) -> None:
        """Make the tenants that are missing."""
        for tenant_id, name in TENANTS.items():
            with suppress(Conflict):
                await self._provisioning.create_tenant(tenant_id, name=name, stale_after_s=STALE_AFTER_S, actor=ACTOR)

    async def token(self, member: Member) -> str | None:
        """A fresh token of a device, which is registered when it is missing; None for a revoked one."""
        with suppress(Conflict):
            await self._provisioning.create_device(member.tenant_id, member.device_id, member.site_id, actor=ACTOR)
        device = await self._provisioning.device(member.tenant_id, member.device_id)
        if device["revoked_at"] is not None:
            return None
        if device["activated"]:
            granted = await self._provisioning.rotate_token(member.tenant_id, member.device_id, actor=ACTOR)
        else:
            made = await self._provisioning.create_code(member.tenant_id, member.device_id, actor=ACTOR)
            granted = await self._activation.activate(made.code)
        return granted.token

    async def api_token(self, role: Role, tenant_id: str | None = None) -> str:
        """A fresh API token; the one of the run before ends."""
        page = await self._api_tokens.page(tenant_id=tenant_id or "", limit=200)
        for old in page.items:
            if (old["name"], old["role"], old["revoked_at"]) == (ACTOR, role, None):
                await self._api_tokens.revoke(old["token_id"], actor=ACTOR)
        minted = await self._api_tokens.create(ACTOR, role, tenant_id=tenant_id, days=_TOKEN_DAYS, actor=ACTOR)
        return minted.token

    async def metrics(self, tenant_id: str) -> None:
        """Say what the simulator's metrics are, unless somebody has said something."""
        catalogue = MetricCatalogue(self._admin)
        known = {each["name"] for each in await catalogue.entries(tenant_id)}
        for name, said in METRICS.items():
            if name not in known:
                await catalogue.say(tenant_id, name, Said(**said), actor=ACTOR)

    async def webhook(self, tenant_id: str, channel: type[Channel[Any]], url: str) -> str:
        """Point the tenant's webhook at ``url`` with a fresh signing secret, which is returned."""
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        public, packed = sealed(channel, self._box, {"url": url, "secret": secret}, allow_plain_http=True)
        page = await self._integrations.page(tenant_id, type_=channel.name, limit=200)
        ours = next((each for each in page.items if each["name"] == _INTEGRATION), None)
        if ours is None:
            ours = await self._integrations.create(tenant_id, channel.name, _INTEGRATION, public, packed, actor=ACTOR)
        else:
            await self._integrations.update(
                tenant_id, ours["integration_id"], config=public, secrets=packed, enabled=True, actor=ACTOR
            )
        await self._route(tenant_id, ours["integration_id"])
        return secret

    async def _route(self, tenant_id: str, integration_id: uuid.UUID) -> None:
        page = await self._integrations.route_page(tenant_id, limit=200)
        if any(each["integration_id"] == integration_id for each in page.items):
            return
        route = Route(
            tenant_id=tenant_id,
            route_id=uuid.uuid4(),
            integration_id=integration_id,
            name="Everything to the demo receiver",
            deliver_on=frozenset({"OPEN", "CLOSED"}),
        )
        await self._integrations.create_route(route, actor=ACTOR)


async def tokens(registry: Registry, members: Iterable[Member]) -> list[tuple[Member, str]]:
    """The devices that may connect, each with its fresh token."""
    found = [(member, await registry.token(member)) for member in members]
    return list(_activated(found))


def _activated(found: Iterable[tuple[Member, str | None]]) -> Iterator[tuple[Member, str]]:
    for member, token in found:
        if token is not None:
            yield member, token
