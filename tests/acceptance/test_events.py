"""The whole product, watched: a reading, an alert and a delivery are heard by their tenant, and nobody else."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import aiohttp

from support.listening import Heard, listening
from support.waiting import until
from support.webhook_receiver import receiving

if TYPE_CHECKING:
    from support.product import Device, Product

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
READING_WITHIN_S = 1.0
"""The promise: so long after a reading is acknowledged, an open page knows of it."""


def minted(product: Product, name: str, *arguments: str) -> str:
    said = product.pulse("tokens", "add", "--name", name, *arguments)
    found = re.search(r"pulse_[\w-]{43}", said.stdout)
    assert found, said.stderr
    return found[0]


async def ingest(http: aiohttp.ClientSession, product: Product, device: Device) -> int:
    tenant_id, device_id, site_id, token = device
    url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/{tenant_id}/device/{device_id}/telemetry"
    body: dict[str, Any] = {"site_id": site_id, "metrics": {"t": 1}}
    async with http.post(url, json=body, headers={"X-Provision-Token": token}) as answer:
        return answer.status


async def test_what_happens_is_heard_by_whom_it_concerns(product: Product) -> None:
    ours, theirs = (product.add_devices(name, 1, prefix=name, stale_after_s=1.0)[0] for name in ("ours", "theirs"))
    tokens = {name: minted(product, name, "--role", "customer_viewer", "--tenant", name) for name in ("ours", "theirs")}
    operator = minted(product, "all", "--role", "operator")
    url = f"http://127.0.0.1:{product.web_port}"
    with ExitStack() as outside:
        receiver = outside.enter_context(receiving(SECRET))
        config = {"url": receiver.url, "secret": SECRET}
        hook = product.admin("integrations", {"tenant_id": "ours", "type": "webhook", "name": "n", "config": config})
        product.admin("integration-routes", {"tenant_id": "ours", "integration_id": hook["integration_id"]})
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            await until_accepted(http, product, theirs)
            we, they, all_ = [
                await stack.enter_async_context(listening(http, f"{url}/{path}/events", token))
                for path, token in (
                    ("customer", tokens["ours"]),
                    ("customer", tokens["theirs"]),
                    ("operator", operator),
                )
            ]
            await until_accepted(http, product, ours)
            acknowledged = time.monotonic()
            await until(lambda: ours[1] in we.of("devices"), what="the reading")
            assert time.monotonic() - acknowledged < READING_WITHIN_S
            await until(lambda: we.of("alerts"), what="the alert")
            await until(lambda: they.of("alerts"), what="their alert")
            await until(lambda: we.of("deliveries") and receiver.got, what="the delivery")
            assert "ours" not in str(they.events)
            assert "theirs" not in str(we.events)
            assert not we.of("alerts") & they.of("alerts")
            assert not they.of("deliveries")
            await until(lambda: heard_by_operators(all_, "ours") and heard_by_operators(all_, "theirs"))
            began = time.monotonic()
            await asyncio.to_thread(product.stop)
            assert time.monotonic() - began < 8
            await until(lambda: we.ended and they.ended and all_.ended)


async def until_accepted(http: aiohttp.ClientSession, product: Product, device: Device) -> None:
    """A device that was just registered is known soon."""
    async with asyncio.timeout(30):
        while await ingest(http, product, device) != 202:  # noqa: ASYNC110 - a door to knock at
            await asyncio.sleep(0.05)


def heard_by_operators(heard: Heard, tenant_id: str) -> bool:
    return any(tenant_id in data.get("tenants", {}) for name, data in heard.events if name == "changed")
