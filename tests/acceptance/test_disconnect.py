"""A device's socket dies in the running product: it is STALE and told of at once, where its tenant chose so."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from support import mqtt311
from support.waiting import until
from support.webhook_receiver import receiving

if TYPE_CHECKING:
    from support.product import Device, Product

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
THRESHOLD_S = 3600
TOLD_WITHIN_S = 15
"""In truth a tenth of a second; the machine may be busy."""


def a_device(product: Product, choice: str) -> Device:
    """One of a tenant of that name, which chose so and has a webhook for everything."""
    tenant = {"tenant_id": choice, "stale_after_s": THRESHOLD_S, "stale_on_disconnect": choice}
    product.admin("tenants", tenant)
    return product.add_devices(choice, 1)[0]


async def heard(stack: AsyncExitStack, product: Product, device: Device) -> mqtt311.Client:
    """A connection on which a device has sent a reading."""
    tenant_id, device_id, site_id, token = device
    await until(product.ready)
    address, name = f"mqtt://127.0.0.1:{product.mqtt_port}", f"{tenant_id}/{device_id}"
    client = await stack.enter_async_context(mqtt311.logged_in(address, name, token, f"{time.monotonic_ns()}"))
    body = b'{"site_id":"%s","metrics":{"v":1}}' % site_id.encode()
    client.write(mqtt311.publish(f"tenant/{tenant_id}/device/{device_id}/telemetry", body))
    assert await client.read() == mqtt311.puback(1)
    return client


async def test_a_lost_device_is_told_of_at_once_and_only_where_that_was_chosen(product: Product) -> None:
    never, lost = a_device(product, "never"), a_device(product, "lost")
    polite = product.add_devices("lost", 1, prefix="polite")[0]

    def status(device: Device) -> str:
        return str(product.admin(f"devices/{device[0]}/{device[1]}")["status"])

    def endings() -> dict[str, str]:
        with product.superuser() as hand:
            rows = hand.execute("SELECT tenant_id || '/' || device_id, reason FROM device_connections").fetchall()
        return {name: reason for name, reason in rows if reason}

    with receiving(SECRET) as receiver:
        config = {"url": receiver.url, "secret": SECRET}
        for tenant in ("never", "lost"):
            made = product.admin(
                "integrations", {"tenant_id": tenant, "type": "webhook", "name": "n", "config": config}
            )
            route: dict[str, Any] = {"tenant_id": tenant, "integration_id": made["integration_id"]}
            product.admin("integration-routes", {**route, "deliver_on": ["OPEN", "CLOSED"]})
        async with AsyncExitStack() as stack:
            unheeded, leaving, dying = [await heard(stack, product, each) for each in (never, polite, lost)]
            leaving.write(mqtt311.DISCONNECT)
            unheeded.writer.transport.abort()
            await until(lambda: {"never/d-000000", "lost/polite-000000"} <= endings().keys())
            dying.writer.transport.abort()
            began = time.monotonic()
            await until(lambda: receiver.got, what="the webhook")
            assert time.monotonic() - began < TOLD_WITHIN_S
            assert (status(lost), status(never), status(polite)) == ("STALE", "ONLINE", "ONLINE")
            await until(lambda: len(endings()) == 3)
            assert endings() == {
                "never/d-000000": "LOST", "lost/polite-000000": "CLIENT_CLOSED", "lost/d-000000": "LOST",
            }  # fmt: skip
            await heard(stack, product, lost)
            await until(lambda: len(receiver.got) == 2, what="that it is back")
            assert status(lost) == "ONLINE"
        assert [(each["tenant_id"], each["alert_type"], each["event"]) for each in receiver.got] == [
            ("lost", "NO_HEARTBEAT", "OPEN"), ("lost", "NO_HEARTBEAT", "CLOSED"),
        ]  # fmt: skip
        assert receiver.got[0]["summary"] == "d-000000 has disconnected (connection lost)"
