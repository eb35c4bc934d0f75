"""Devices that publish to somebody else's broker, with kill -9 of either side: nothing lost, nothing visible twice."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from support.bridge_load import Publisher, Recorder
from support.durable_mosquitto import DurableMosquitto
from support.product import Product
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.product import Device

pytestmark = pytest.mark.timeout(300)

DEVICES = 6
STALE_AFTER_S = 3.0
SECRET = "the secret of a test's broker"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[DurableMosquitto]:
    running = DurableMosquitto(tmp_path / "mosquitto")
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def recorder(broker: DurableMosquitto) -> AsyncIterator[Recorder]:
    between = Recorder(broker.port)
    await between.start()
    yield between
    between.stop()


@pytest.fixture
async def bridged(tmp_path: Path, recorder: Recorder) -> AsyncIterator[tuple[Product, list[Device]]]:
    section = (
        f'[plugins.mqtt_bridge]\nurls = ["mqtt://127.0.0.1:{recorder.port}"]\nqos = 2\n'
        f'reconnect_first_s = 0.2\nreconnect_longest_s = 1\nauth_secret = "{SECRET}"\n'
    )
    product = Product(tmp_path / "product", more_plugins=["mqtt_bridge"], config=section)
    await asyncio.to_thread(product.start)
    try:
        product.raise_limits()
        devices = product.add_devices("tenant-a", DEVICES, stale_after_s=STALE_AFTER_S)
        yield product, devices
    finally:
        await asyncio.to_thread(product.stop)


def alerts(product: Product) -> int:
    with product.superuser() as connection:
        row = connection.execute("SELECT count(*) FROM alerts").fetchone()
    assert row is not None
    return int(row[0])


def asked(product: Product, path: str, **fields: str) -> str:
    """Ask as EMQX does."""
    headers = {"X-Broker-Secret": SECRET, "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{product.http_port}{path}"
    with urllib.request.urlopen(
        urllib.request.Request(url, json.dumps(fields).encode(), headers), timeout=30
    ) as answer:
        return str(json.load(answer)["result"])


def demand_answers(product: Product, device: Device) -> None:
    login = {"username": f"{device[0]}/{device[1]}", "action": "connect"}
    assert asked(product, "/mqtt/auth", **login, password=device[3]) == "allow"
    assert asked(product, "/mqtt/auth", **login, password="another") == "deny"
    right = {**login, "action": "publish", "topic": f"tenant/{device[0]}/device/{device[1]}/telemetry"}
    assert asked(product, "/mqtt/acl", **right) == "allow"
    assert asked(product, "/mqtt/acl", **{**right, "topic": "else/where"}) == "deny"


async def shown(product: Product, devices: list[Device]) -> dict[int, list[int]]:
    return await asyncio.to_thread(product.shown_seqs, devices)


async def pipeline_dies(product: Product) -> None:
    """Kill -9, and wait until it is back."""
    before = await asyncio.to_thread(product.process, "pipeline")
    before.kill()
    await until(lambda: (found := product._find("pipeline")) is not None and found.pid != before.pid, every_s=0.2)
    await asyncio.sleep(1.0)  # under load again


class Trial:
    """Publishers at work, and what both ends of the bridge have said so far."""

    def __init__(self, broker: DurableMosquitto, recorder: Recorder, product: Product, devices: list[Device]) -> None:
        self.broker = broker
        self.recorder = recorder
        self.product = product
        self.devices = devices
        self.publishers = [Publisher(broker.port, one, number, 1 + number % 2) for number, one in enumerate(devices)]

    async def we_die(self) -> None:
        """What the broker has acknowledged to devices arrives all the same: it still has what we have not."""
        for _ in range(3):
            await pipeline_dies(self.product)
        sent = [set(publisher.acknowledged) for publisher in self.publishers]
        taken = self.recorder.acknowledged
        await until(lambda: all(seqs <= taken[number] for number, seqs in enumerate(sent)))
        for number, seqs in (await shown(self.product, self.devices)).items():
            assert sent[number] <= set(seqs), "acknowledged, and lost"
        assert self.recorder.dups, "nothing was under way when we died"

    async def the_broker_dies(self) -> None:
        """For longer than devices may be silent: nobody can know that they are, so nobody says so."""
        self.broker.kill()
        await asyncio.sleep(STALE_AFTER_S + 2)
        self.broker.start()
        connections = self.recorder.connections
        await until(lambda: self.recorder.connections > connections)
        await pipeline_dies(self.product)
        self.broker.kill()
        await asyncio.sleep(1)
        self.broker.start()
        mark = [publisher.last_seq for publisher in self.publishers]
        taken = self.recorder.acknowledged
        await until(lambda: all(max(taken[number]) > seq for number, seq in enumerate(mark)))
        assert alerts(self.product) == 0

    async def all_is_said(self) -> None:
        """Everything is sent, taken and acknowledged."""
        for publisher in self.publishers:
            publisher.sending = False
        await until(lambda: all(publisher.idle for publisher in self.publishers))
        taken = self.recorder.acknowledged
        await until(lambda: all(one.last_seq in taken[number] for number, one in enumerate(self.publishers)))

    async def demand_all_once(self) -> None:
        """What we acknowledged to the broker is shown, and nothing is shown twice."""
        found = await shown(self.product, self.devices)
        for number, seqs in found.items():
            assert len(seqs) == len(set(seqs)), "visible twice"
            assert self.recorder.acknowledged[number] <= set(seqs), "acknowledged to the broker, and lost"
        assert sum(map(len, found.values())) > 1000


async def test_kill_9_of_either_side_under_load(
    broker: DurableMosquitto, recorder: Recorder, bridged: tuple[Product, list[Device]]
) -> None:
    product, devices = bridged
    await asyncio.to_thread(demand_answers, product, devices[0])
    await until(lambda: recorder.connections)
    trial = Trial(broker, recorder, product, devices)
    running = [asyncio.create_task(publisher.run()) for publisher in trial.publishers]
    try:
        await until(lambda: all(len(recorder.acknowledged[number]) > 50 for number in range(DEVICES)))
        await trial.we_die()
        await trial.the_broker_dies()
        await trial.all_is_said()
        await trial.demand_all_once()
        # That they are silent now is known: the broker is there.
        await until(lambda: alerts(product) == DEVICES, every_s=0.3)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
