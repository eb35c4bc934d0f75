"""The way in over HTTP keeps the contract of ingesters."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pulse_core.testing.ingesters import DEVICE, IngesterContract, LogOnly, Sender, Served
from pulse_http import HttpIngester
from pulse_http.config import HttpConfig
from support import asgi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.api import AsgiApp, Ingester


class _Device:
    """Posts; the answer to a message is its response."""

    def __init__(self, app: AsgiApp, token: str) -> None:
        self._app = app
        self._headers = {**asgi.JSON, "x-provision-token": token}

    async def send(self, payload: bytes) -> bool:
        path = f"/ingest/v1/tenant/{DEVICE.tenant_id}/device/{DEVICE.device_id}/telemetry"
        response = await asgi.post(self._app, path, payload, self._headers)
        return response.status == 202 or 400 <= response.status < 429


class TestHttpContract(IngesterContract):
    ordered = False

    def make(self) -> Ingester:
        return HttpIngester(HttpConfig(), LogOnly())

    @asynccontextmanager
    async def device(self, served: Served, token: str) -> AsyncIterator[Sender]:
        assert served.asgi is not None
        yield _Device(served.asgi[1], token)
