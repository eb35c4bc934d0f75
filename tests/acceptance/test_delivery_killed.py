"""The deliver process dies between sending and recording: another takes it up, and the receiver can tell."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from support.product import Product
from support.slow_http import Arrival, SlowServer, slow_server
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UNANSWERED, ANSWERED = "/unanswered", "/answered"
TAKEN_UP_WITHIN_S = 30.0
_SLACK_S = 8.0
"""For a busy machine to start a process."""


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path / "product")
    try:
        running.start()
        yield running
    finally:
        running.stop()


def subscribe(product: Product, server: SlowServer, path: str) -> None:
    """Have every alert of the tenant told to ``path``."""
    config = {"url": server.url + path, "secret": SECRET}
    wanted = {"tenant_id": "tenant-a", "type": "webhook", "name": path, "config": config}
    integration = product.admin("integrations", wanted)["integration_id"]
    product.admin("integration-routes", {"tenant_id": "tenant-a", "integration_id": integration})


def fall_silent(product: Product) -> None:
    """Register a device, hear it once, and never again."""
    ((tenant, device, site, token),) = product.add_devices("tenant-a", 1)
    url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/{tenant}/device/{device}/heartbeat"
    headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"site_id": site}).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202


async def test_killed_between_sending_and_recording(product: Product) -> None:
    answered, dead = asyncio.Event(), asyncio.Event()

    async def hold(arrival: Arrival) -> None:
        if len(server.of(arrival.path)) == 1:
            await {ANSWERED: answered, UNANSWERED: dead}[arrival.path].wait()

    async with slow_server(hold) as server:
        product.admin("tenants", {"tenant_id": "tenant-a", "stale_after_s": 1})
        for path in (UNANSWERED, ANSWERED):
            subscribe(product, server, path)
        fall_silent(product)
        await until(lambda: server.of(UNANSWERED) and server.of(ANSWERED), what="both bodies")
        deliver = product.process("deliver")
        deliver.suspend()  # so that it can neither read the answer nor record it
        answered.set()
        await asyncio.sleep(0)
        deliver.kill()
        dead.set()
        await until(lambda: len(server.arrivals) == 4, within_s=60, what="both again")
        await until(lambda: _settled(product), what="both recorded")
        assert product.process("deliver").pid != deliver.pid

    for path in (UNANSWERED, ANSWERED):
        first, again = server.of(path)
        assert first.delivery_id == again.delivery_id, "the receiver cannot tell that it is the same"
        assert again.at_s - first.at_s < TAKEN_UP_WITHIN_S + _SLACK_S
    for each in _settled(product):
        lost, sent = each["attempts"]
        assert (lost["outcome"], sent["outcome"]) == ("TEMPORARY", "DELIVERED")
        assert "the worker ended before it could say what came of this attempt" in lost["detail"]


def _settled(product: Product) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = product.admin("deliveries")["items"]
    return found if [each["status"] for each in found] == ["DELIVERED"] * 2 else []
