"""A webhook receiver that costs next to nothing: it notes when which event of which device arrived."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.product import Product

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Calls ``told(device_id, event, at_s)`` for every webhook; ``at_s`` is on the monotonic clock."""

    def __init__(self, told: Callable[[str, str, float], None]) -> None:
        self._told = told
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self._peers:
            peer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self._told(body["device_id"], body["event"], time.monotonic())
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (OSError, EOFError):
            writer.close()
            self._peers.discard(writer)


def subscribe(product: Product, tenant: str, port: int, events: list[str]) -> None:
    """Route a tenant's alerts to a receiver on this machine."""
    route(product, tenant, {"url": f"http://127.0.0.1:{port}/hook", "secret": SECRET}, events)


def route(product: Product, tenant: str, config: dict[str, Any], events: list[str]) -> None:
    """Route a tenant's alerts to a webhook."""
    made = product.admin("integrations", {"tenant_id": tenant, "type": "webhook", "name": "receiver", "config": config})
    product.admin(
        "integration-routes",
        {"tenant_id": tenant, "integration_id": made["integration_id"], "deliver_on": events},
    )
