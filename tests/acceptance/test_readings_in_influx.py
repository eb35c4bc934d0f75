"""Readings in InfluxDB: a killed process and an outage of InfluxDB lose nothing and store nothing twice."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.chaos import Fleet
from support.influx_server import influx_server
from support.ledger import judge, read_ledger
from support.product import Product
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.influx_server import InfluxServer

pytestmark = pytest.mark.timeout(200)


@contextmanager
def in_influx(folder: Path, server: InfluxServer) -> Iterator[Product]:
    config = f'[plugins.influxdb]\nurl = "{server.url}"\ntoken = "{server.token}"\ntenancy = "shared"\n'
    product = Product(folder, more_plugins=["influxdb"], telemetry_store="influxdb", config=config)
    product.start()
    product.raise_limits()
    yield product
    product.stop()


async def test_a_kill_and_an_outage(tmp_path: Path) -> None:
    async with influx_server() as server:
        loop = asyncio.get_running_loop()

        def there(is_there: bool) -> None:  # the stand-in is this loop's; the product is waited for in a thread
            asyncio.run_coroutine_threadsafe(server.start() if is_there else server.stop(), loop).result(10)

        await asyncio.to_thread(_harm, tmp_path, server, there)


def _harm(folder: Path, server: InfluxServer, there: Callable[[bool], None]) -> None:
    with in_influx(folder / "product", server) as product:
        fleet = Fleet(
            product, folder, "load", product.add_devices("load", 20, prefix="load", stale_after_s=3600), 200.0
        )
        try:
            fleet.heard()
            there(False)
            until_sync(lambda: not product.ready(), within_s=30, what="the outage")
            there(True)
            until_sync(product.ready, within_s=30, what="the pipeline")
            fleet.heard()
            product.kill("pipeline")
            until_sync(product.ready, within_s=60, what="the pipeline")
            fleet.heard()
            result = fleet.stop()
        finally:
            fleet.kill()
        assert result["unanswered"] == result["out_of_order"] == result["refused"] == 0, result
        verdict = judge(read_ledger(fleet.ledger), product.shown_seqs(fleet.devices))
        assert verdict.holds, str(verdict)
        assert product.ledger()["balanced"]
