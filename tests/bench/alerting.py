"""How soon somebody knows: from silence to a webhook, and from the first word after it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import TYPE_CHECKING

import aiohttp

from bench.figures import Bench, Figure, Fleet, percentile
from bench.receiver import Receiver, subscribe

if TYPE_CHECKING:
    from support.product import Device, Product

THRESHOLD_S = 2.0
PROBES = 100
RATE = 2000.0
_ANSWER_WITHIN_S = 60.0


class Probes:
    """Devices that speak one reading at a time, over HTTP, and what the receiver hears about them."""

    def __init__(self, product: Product, fleet: list[Device], session: aiohttp.ClientSession) -> None:
        self._url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant"
        self._session = session
        self._seq = 0
        self.fleet = fleet
        self.spoke: dict[str, float] = {}
        self.events: asyncio.Queue[tuple[str, str, float]] = asyncio.Queue()

    def told(self, device_id: str, event: str, at_s: float) -> None:
        """A webhook has come."""
        self.events.put_nowait((device_id, event, at_s))

    async def speak(self, device: Device) -> None:
        """Post one reading, and remember when."""
        tenant, name, site, token = device
        self._seq += 1
        body = json.dumps({"ts": time.time_ns() // 1_000_000, "site_id": site, "seq": self._seq, "metrics": {"v": 1}})
        headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
        self.spoke[name] = time.monotonic()
        async with self._session.post(
            f"{self._url}/{tenant}/device/{name}/telemetry", data=body, headers=headers
        ) as got:
            assert got.status == 202, await got.text()

    async def speak_later(self, device: Device) -> None:
        """Speak after a moment, so that the probes spread."""
        await asyncio.sleep(random.uniform(0, 1))
        await self.speak(device)


def silence(bench: Bench) -> list[Figure]:
    """A silent device's webhook, after its threshold."""
    with bench.product(Fleet("probes", 50, THRESHOLD_S)) as (product, (fleet,)):
        delays = asyncio.run(_silence(product, fleet))
    worst = max(delays)
    return [
        Figure(
            f"Silent device → webhook, after its threshold ({len(delays)} devices)",
            f"p50 {1e3 * percentile(delays, 0.5):.0f} ms, worst {1e3 * worst:.0f} ms",
            "≤ 1 s",
            worst <= 1.0,
        )
    ]


async def _silence(product: Product, fleet: list[Device]) -> list[float]:
    async with aiohttp.ClientSession() as session:
        probes = Probes(product, fleet, session)
        async with Receiver(probes.told) as port:
            subscribe(product, "probes", port, ["OPEN"])
            for device in fleet:
                await probes.speak(device)
                await asyncio.sleep(random.uniform(0, 0.05))
            delays = []
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                for _ in fleet:
                    name, _event, at_s = await probes.events.get()
                    delays.append(at_s - probes.spoke[name] - THRESHOLD_S)
    return delays


def recovery(bench: Bench) -> list[Figure]:
    """From a reading that closes an alert to the webhook about it, while 2,000 messages a second come in."""
    seconds = 60.0 if bench.full else 20.0
    with bench.product(Fleet("bench", 200), Fleet("probes", PROBES, 1.0)) as (product, (background, fleet)):
        load = bench.start_load(
            way="mqtt", port=product.mqtt_port, devices=background, rate=RATE, seconds=seconds + 600
        )
        try:
            load.connected()
            delays = asyncio.run(_recovery(product, fleet, seconds))
        finally:
            load.kill()
    p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    return [
        Figure(
            f"Reading that closes an alert → webhook, at {RATE:,.0f} msg/s ({len(delays)} times)",
            f"p50 {1e3 * p50:.0f} ms, p99 {1e3 * p99:.0f} ms",
            "p50 ≤ 100 ms, p99 ≤ 500 ms",
            p50 <= 0.1 and p99 <= 0.5,
        )
    ]


async def _recovery(product: Product, fleet: list[Device], seconds: float) -> list[float]:
    by_name = {device[1]: device for device in fleet}
    delays: list[float] = []
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        probes = Probes(product, fleet, session)
        async with Receiver(probes.told) as port:
            subscribe(product, "probes", port, ["OPEN", "CLOSED"])
            for device in fleet:
                tasks.create_task(probes.speak_later(device))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    name, event, at_s = await probes.events.get()
                if event == "CLOSED":
                    delays.append(at_s - probes.spoke[name])
                else:
                    tasks.create_task(probes.speak_later(by_name[name]))
    return delays
