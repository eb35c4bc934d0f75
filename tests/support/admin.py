"""The web application in this process, over a real database: what the tests of the admin API talk to."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pulse_core.config import Listen, load_config
from pulse_core.plugins import load_plugins
from pulse_core.principal import Role
from pulse_core.secrets import SecretBox
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_postgres.pool import open_pool
from pulse_server.serving import HttpServer, bind
from pulse_server.web import create_app
from pulse_server.web.services import Pools, Services
from support.openapi import contract_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from quart.typing import TestClientProtocol

    from support.database import Database

KEY = "a key of the tests"
UNLIMITED = {"writes_per_s": 0, "address_writes_per_s": 0, "failures_per_minute": 0}


class Caller:
    """A program that calls the web application: every path below ``prefix``, with ``headers``."""

    def __init__(self, client: TestClientProtocol, prefix: str, headers: dict[str, str]) -> None:
        self.client = client
        self.prefix = prefix
        self.headers = headers

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any, Any]:
        """Status, JSON (or bytes), headers. The answer must be one that the OpenAPI document allows.

        :param broken: whoever answers was broken for the test, so the document knows nothing of it.
        """
        headers, broken = {**self.headers, **more.pop("headers", {})}, more.pop("broken", False)
        if method == "GET" and path.endswith("/events") and "/devices/" not in path:
            path += "?lasts_s=0"  # it would go on for ever
        if body is not None:
            more["json"] = body
        response = await self.client.open(f"{self.prefix}{path}", method=method, headers=headers, **more)
        raw = await response.get_data(as_text=False)
        kind = response.headers.get("Content-Type", "")
        if not broken:
            asked = f"{self.prefix}{path}".partition("?")[0]
            contract_of(self.client.app).check(method, unquote(asked).rstrip("/"), response.status_code, kind, raw)
        return (
            response.status_code,
            await response.get_json(force=True) if kind.endswith("json") else raw,
            response.headers,
        )

    async def get(self, path: str, **more: Any) -> tuple[int, Any, Any]:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any, Any]:
        return await self.call("POST", path, body, **more)

    async def patch(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any, Any]:
        return await self.call("PATCH", path, body, **more)

    async def delete(self, path: str, **more: Any) -> tuple[int, Any, Any]:
        return await self.call("DELETE", path, **more)


class Admin(Caller):
    """A caller of the admin API who holds the key, and can mint tokens for others."""

    def __init__(self, client: TestClientProtocol, tokens: ApiTokens | None = None) -> None:
        super().__init__(client, "/api/admin", {})
        self.tokens = tokens

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = KEY, **more: Any
    ) -> tuple[int, Any, Any]:
        """Status, JSON (or bytes), headers."""
        headers = {**({"X-Admin-Key": key} if key is not None else {}), **more.pop("headers", {})}
        return await super().call(method, path, body, headers=headers, **more)

    async def tenant(self, tenant_id: str = "tenant-a") -> None:
        status, body, _ = await self.post("/tenants", {"tenant_id": tenant_id})
        assert status == 201, body

    async def device(self, device_id: str = "dev-1", tenant_id: str = "tenant-a", site_id: str = "site-1") -> None:
        wanted = {"tenant_id": tenant_id, "device_id": device_id, "site_id": site_id}
        status, body, _ = await self.post("/devices", wanted)
        assert status == 201, body

    async def customer(self, tenant_id: str = "tenant-a", role: Role = Role.CUSTOMER_ADMIN) -> Caller:
        """A program of a tenant that is there already."""
        return await self._caller("/customer", role, tenant_id)

    async def operator(self, role: Role = Role.OPERATOR) -> Caller:
        """A program of the operator."""
        return await self._caller("/operator", role, None)

    async def _caller(self, prefix: str, role: Role, tenant_id: str | None) -> Caller:
        assert self.tokens is not None
        minted = await self.tokens.create(f"{role} of {tenant_id}", role, tenant_id=tenant_id, days=1, actor="test")
        return Caller(self.client, prefix, {"Authorization": f"Bearer {minted.token}"})


@asynccontextmanager
async def opened(services: Services, database: Database) -> AsyncIterator[Pools]:
    """The services, at work on ``database``."""
    async with AsyncExitStack() as stack:
        found = {}
        for name in ("admin", "operator", "auth", "web"):
            found[name] = await open_pool(database.dsn(f"pulse_{name}"), name="test", max_size=3)
            stack.push_async_callback(found[name].close)
        pools = Pools(**found)
        await services.open(pools)
        stack.push_async_callback(services.close)
        yield pools


@asynccontextmanager
async def admin_api(database: Database, data_dir: Path, **overrides: Any) -> AsyncIterator[Admin]:
    """The application, opened on ``database``; callers are not limited unless ``overrides`` say so."""
    ours = {"mode": "dev", "data_dir": data_dir, "admin_key": KEY, "limits": UNLIMITED}
    config = load_config(None, **{**ours, **overrides})
    services = Services(config, SecretBox(database.secret_key), load_plugins(config))
    async with opened(services, database) as pools:
        yield Admin(create_app(services).test_client(), ApiTokens(pools.admin))


@asynccontextmanager
async def served(admin: Admin) -> AsyncIterator[str]:
    """Where the application answers over a real socket."""
    sock = bind(Listen(port=0), "web")
    server = HttpServer(admin.client.app, sock)
    await server.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    await server.stop()
