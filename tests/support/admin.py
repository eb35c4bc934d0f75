"""The web application in this process, over a real database: what the tests of the admin API talk to."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_postgres.pool import open_pool
from pulse_server.web import create_app
from pulse_server.web.services import Services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from quart.typing import TestClientProtocol

    from support.database import Database

KEY = "a key of the tests"


class Admin:
    """A caller of the admin API who holds the key."""

    def __init__(self, client: TestClientProtocol) -> None:
        self.client = client

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = KEY, **more: Any
    ) -> tuple[int, Any, Any]:
        """Status, JSON (or bytes), headers."""
        headers = {**({"X-Admin-Key": key} if key is not None else {}), **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        response = await self.client.open(f"/api/admin{path}", method=method, headers=headers, **more)
        raw = await response.get_data(as_text=False)
        kind = response.headers.get("Content-Type", "")
        return response.status_code, await response.get_json(force=True) if "json" in kind else raw, response.headers

    async def get(self, path: str, **more: Any) -> tuple[int, Any, Any]:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any, Any]:
        return await self.call("POST", path, body, **more)

    async def tenant(self, tenant_id: str = "tenant-a") -> None:
        status, body, _ = await self.post("/tenants", {"tenant_id": tenant_id})
        assert status == 201, body

    async def device(self, device_id: str = "dev-1", tenant_id: str = "tenant-a", site_id: str = "site-1") -> None:
        wanted = {"tenant_id": tenant_id, "device_id": device_id, "site_id": site_id}
        status, body, _ = await self.post("/devices", wanted)
        assert status == 201, body


@asynccontextmanager
async def admin_api(database: Database, data_dir: Path, **overrides: Any) -> AsyncIterator[Admin]:
    """The application, opened on ``database``."""
    config = load_config(None, **{"mode": "dev", "data_dir": data_dir, "admin_key": KEY, **overrides})
    services = Services(config, SecretBox(database.secret_key), load_plugins(config))
    admin = await open_pool(database.dsn("pulse_admin"), name="test", max_size=3)
    operator = await open_pool(database.dsn("pulse_operator"), name="test", max_size=3)
    await services.open(admin, operator)
    try:
        yield Admin(create_app(services).test_client())
    finally:
        await services.close()
        await admin.close()
        await operator.close()
