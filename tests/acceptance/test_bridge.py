"""Devices that publish to somebody else's broker, with kill -9 of either side: nothing lost, nothing visible twice."""

from __future__ import annotations

import asyncio
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
        "reconnect_first_s = 0.2\nreconnect_longest_s = 1\n"
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


async def shown(product: Product, devices: list[Device]) -> dict[int, list[int]]:
    return await asyncio.to_thread(product.shown_seqs, devices)


async def pipeline_dies(product: Product) -> None:
    """Kill -9, and wait until it is back."""
    before = await asyncio.to_thread(product.process, "pipeline")
    before.kill()
    await until(lambda: (found := product._find("pipeline")) is not None and found.pid != before.pid, every_s=0.2)
    await asyncio.sleep(1.0)  # under load again


async def test_kill_9_of_either_side_under_load(
    broker: DurableMosquitto, recorder: Recorder, bridged: tuple[Product, list[Device]]
) -> None:
    product, devices = bridged
    await until(lambda: recorder.connections)
    publishers = [Publisher(broker.port, device, number, 1 + number % 2) for number, device in enumerate(devices)]
    running = [asyncio.create_task(publisher.run()) for publisher in publishers]
    try:
        await until(lambda: all(len(recorder.acknowledged[number]) > 50 for number in range(DEVICES)))

        # We die: whatever the broker has acknowledged to devices arrives, because it still has what we have not.
        for _ in range(3):
            await pipeline_dies(product)
        sent = [set(publisher.acknowledged) for publisher in publishers]
        await until(lambda: all(sent[number] <= recorder.acknowledged[number] for number in range(DEVICES)))
        now_shown = await shown(product, devices)
        for number in range(DEVICES):
            assert sent[number] <= set(now_shown[number]), "acknowledged, and lost"
        assert recorder.dups, "nothing was under way when we died"

        # The broker dies, for longer than devices may be silent: nobody can know that they are, so nobody says so.
        broker.kill()
        await asyncio.sleep(STALE_AFTER_S + 2)
        broker.start()
        connections = recorder.connections
        await until(lambda: recorder.connections > connections)
        await pipeline_dies(product)
        broker.kill()
        await asyncio.sleep(1)
        broker.start()
        mark = [publisher.last_seq for publisher in publishers]
        await until(lambda: all(max(recorder.acknowledged[number]) > mark[number] for number in range(DEVICES)))
        assert alerts(product) == 0

        for publisher in publishers:
            publisher.sending = False
        await until(lambda: all(publisher.idle for publisher in publishers))
        await until(
            lambda: all(
                publisher.last_seq in recorder.acknowledged[number] for number, publisher in enumerate(publishers)
            )
        )
        finally_shown = await shown(product, devices)
        total = 0
        for number in range(DEVICES):
            seqs = finally_shown[number]
            assert len(seqs) == len(set(seqs)), "visible twice"
            assert recorder.acknowledged[number] <= set(seqs), "acknowledged to the broker, and lost"
            total += len(seqs)
        assert total > 1000

        # That they are silent now is known: the broker is there.
        await until(lambda: alerts(product) == DEVICES, every_s=0.3)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
