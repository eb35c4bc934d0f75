"""Outages of ours: no alert about devices that were there all the time, and no acknowledgement we cannot keep."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.chaos import alerts_of
from support.generator import Generator
from support.ledger import judge, read_ledger
from support.load_stats import LoadSpec
from support.outages import without_database
from support.product import Device, Product
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENANT = "watched"
_LEDGERS_SETTLE_S = 2.0
"""An acknowledgement that came just before the outage is in its ledger by then."""

pytestmark = pytest.mark.timeout(300)


class Fleet:
    """Devices that report twice a second over one way in, whatever happens."""

    def __init__(self, product: Product, folder: Path, way: str, devices: list[Device]) -> None:
        self.devices = devices
        self.ledger = folder / f"{way}.ledger"
        spec = LoadSpec(
            way="mqtt" if way == "mqtt" else "http",
            port=product.mqtt_port if way == "mqtt" else product.http_port,
            devices=devices,
            connections=len(devices),
            rate=2.0 * len(devices),
            seconds=600,
            ledger=str(self.ledger),
        )
        self._generator = Generator(folder, way, asdict(spec))
        self._generator.connected()

    def acknowledged(self) -> dict[int, set[int]]:
        """What this fleet was told is safe."""
        return read_ledger(self.ledger) if self.ledger.exists() else {}

    def heard_since(self, before: dict[int, set[int]]) -> bool:
        """Whether every device was acknowledged something since."""
        now = self.acknowledged()
        return all(len(now.get(n, ())) > len(before.get(n, ())) for n in range(len(self.devices)))

    def stop(self) -> None:
        self._generator.stop()
        self._generator.result()

    def kill(self) -> None:
        self._generator.kill()


class Watch:
    """A running product and its two fleets."""

    def __init__(self, folder: Path, threshold_s: float | None) -> None:
        self.product = Product(folder)
        self.product.start()
        self.product.raise_limits()
        self.fleets = [
            Fleet(self.product, folder, way, self.product.add_devices(TENANT, 5, prefix=way, stale_after_s=threshold_s))
            for way in ("mqtt", "http")
        ]

    def wait_until_heard(self) -> None:
        """Until every device has been acknowledged something from now on."""
        for fleet in self.fleets:
            until_sync(partial(fleet.heard_since, fleet.acknowledged()), within_s=60, what="every device")

    def close(self) -> None:
        for fleet in self.fleets:
            fleet.kill()
        self.product.stop()


@pytest.fixture
def watch(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Watch]:
    watch = Watch(tmp_path, request.param)
    try:
        yield watch
    finally:
        watch.close()


@pytest.mark.parametrize(
    ("watch", "outage_s", "how"),
    [
        (3.0, 6.0, "stop"),
        (3.0, 6.0, "kill"),
        pytest.param(None, 60.0, "stop", marks=pytest.mark.slow),
    ],
    indirect=["watch"],
    ids=["stopped", "killed", "stopped for 60 s"],
)
def test_devices_that_resume_after_our_outage_get_no_alert(watch: Watch, outage_s: float, how: str) -> None:
    threshold_s = 3.0 if outage_s < 60 else 30.0
    watch.wait_until_heard()
    if how == "stop":
        assert watch.product.stop() == 0
    else:
        watch.product.kill_all()
    time.sleep(outage_s)
    watch.product.start()
    watch.wait_until_heard()
    time.sleep(threshold_s + 2)
    watch.wait_until_heard()
    assert not alerts_of(watch.product, TENANT)
    watch.fleets[0].stop()
    until_sync(lambda: len(alerts_of(watch.product, TENANT)) == 5, within_s=threshold_s + 30, what="the real silence")


@pytest.mark.parametrize("watch", [3.0], indirect=True)
@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_without_a_database_nothing_is_acknowledged_and_nobody_is_stale(watch: Watch, how: str) -> None:
    watch.wait_until_heard()
    product, fleets = watch.product, watch.fleets
    with without_database(product, how):
        until_sync(lambda: not product.ready(), within_s=30, what="the pipeline's own notice")
        device = fleets[1].devices[0]
        assert until_sync(lambda: _post(product, device), within_s=30) == 503
        time.sleep(_LEDGERS_SETTLE_S)
        before = [fleet.acknowledged() for fleet in fleets]
        time.sleep(5.0)
        assert [fleet.acknowledged() for fleet in fleets] == before
    until_sync(product.ready, within_s=60, what="the pipeline")
    watch.wait_until_heard()
    time.sleep(5.0)
    watch.wait_until_heard()
    assert not alerts_of(product, TENANT)
    for fleet in fleets:
        fleet.stop()
        verdict = judge(fleet.acknowledged(), product.shown_seqs(fleet.devices))
        assert verdict.holds, str(verdict)


def _post(product: Product, device: Device) -> int:
    tenant, name, site, token = device
    url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/{tenant}/device/{name}/heartbeat"
    body = json.dumps({"site_id": site}).encode()
    headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
