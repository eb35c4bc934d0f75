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
    """A connection on which a device, which has a last will, has sent a reading."""
    tenant_id, device_id, site_id, token = device
    await until(product.ready)
    client = await stack.enter_async_context(mqtt311.connected(f"mqtt://127.0.0.1:{product.mqtt_port}"))
    topic = f"tenant/{tenant_id}/device/{device_id}/telemetry"
    body, will = (b'{"site_id":"%s","metrics":{"v":%d}}' % (site_id.encode(), number) for number in (1, 0))
    client.write(mqtt311.connect(f"{tenant_id}/{device_id}", token, f"{time.monotonic_ns()}", will=(topic, will)))
    assert await client.read() == b"\x20\x02\x00\x00"
    client.write(mqtt311.publish(topic, body))
    assert await client.read() == mqtt311.puback(1)
    return client


async def refused(product: Product, device: Device) -> None:
    """Whoever guesses a token."""
    async with mqtt311.connected(f"mqtt://127.0.0.1:{product.mqtt_port}") as client:
        client.write(mqtt311.connect(f"{device[0]}/{device[1]}", "a guess", "guess"))
        assert await client.closed() == b"\x20\x02\x00\x05"


def events(product: Product, device: Device) -> list[tuple[str, str, int]]:
    """What happened to it besides."""
    look = """
        SELECT event, detail, times FROM device_connections
        WHERE event IS NOT NULL AND (tenant_id, device_id) = (%s, %s) ORDER BY event
    """
    with product.superuser() as hand:
        return [(event, detail, times) for event, detail, times in hand.execute(look, device[:2])]


def endings(product: Product) -> dict[str, str]:
    """How the connections ended, by device."""
    with product.superuser() as hand:
        rows = hand.execute("SELECT tenant_id || '/' || device_id, reason FROM device_connections").fetchall()
    return {name: reason for name, reason in rows if reason}


def webhook(product: Product, tenant: str, url: str) -> None:
    """Is told of everything."""
    config = {"url": url, "secret": SECRET}
    made = product.admin("integrations", {"tenant_id": tenant, "type": "webhook", "name": "n", "config": config})
    route: dict[str, Any] = {"tenant_id": tenant, "integration_id": made["integration_id"]}
    product.admin("integration-routes", {**route, "deliver_on": ["OPEN", "CLOSED"]})


async def test_a_lost_device_is_told_of_at_once_and_only_where_that_was_chosen(product: Product) -> None:
    never, lost = a_device(product, "never"), a_device(product, "lost")
    polite = product.add_devices("lost", 1, prefix="polite")[0]

    def status(device: Device) -> str:
        return str(product.admin(f"devices/{device[0]}/{device[1]}")["status"])

    with receiving(SECRET) as receiver:
        for tenant in ("never", "lost"):
            webhook(product, tenant, receiver.url)
        async with AsyncExitStack() as stack:
            unheeded, leaving, dying = [await heard(stack, product, each) for each in (never, polite, lost)]
            leaving.write(mqtt311.DISCONNECT)
            unheeded.writer.transport.abort()
            await until(lambda: {"never/d-000000", "lost/polite-000000"} <= endings(product).keys())
            dying.writer.transport.abort()
            began = time.monotonic()
            await until(lambda: receiver.got, what="the webhook")
            assert time.monotonic() - began < TOLD_WITHIN_S
            assert (status(lost), status(never), status(polite)) == ("STALE", "ONLINE", "ONLINE")
            await until(lambda: len(endings(product)) == 3)
            assert endings(product) == {
                "never/d-000000": "LOST", "lost/polite-000000": "CLIENT_CLOSED", "lost/d-000000": "LOST",
            }  # fmt: skip
            told = [("REFUSED", "TOKEN_INVALID", 2), ("WILL", "telemetry: taken in", 1)]
            for _ in range(2):
                await refused(product, lost)
            await until(lambda: events(product, lost) == told, what="what else happened")
            assert (status(lost), len(receiver.got)) == ("STALE", 1), "neither is a sign of life"
            assert events(product, never) == told[1:]
            assert not events(product, polite)
            await heard(stack, product, lost)
            await until(lambda: len(receiver.got) == 2, what="that it is back")
            assert status(lost) == "ONLINE"
        assert [(each["tenant_id"], each["alert_type"], each["event"]) for each in receiver.got] == [
            ("lost", "NO_HEARTBEAT", "OPEN"), ("lost", "NO_HEARTBEAT", "CLOSED"),
        ]  # fmt: skip
        assert receiver.got[0]["summary"] == "d-000000 has disconnected (connection lost)"
