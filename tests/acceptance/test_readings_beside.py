"""A telemetry store beside the database: killed processes and an outage of the store lose nothing and alert nobody."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from support import beside_store
from support.beside_store import Beside
from support.chaos import Fleet, alerts_of
from support.ledger import judge, read_ledger
from support.product import Product
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THRESHOLD_S = 3.0
OUTAGE_S = 10.0
_LEDGERS_SETTLE_S = 1.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    return Beside(tmp_path / "readings.sqlite")


@pytest.fixture
def product(tmp_path: Path, beside: Beside) -> Iterator[Product]:
    running = Product(
        tmp_path / "product",
        more_plugins=["beside"],
        extra_path=beside_store.install(tmp_path / "distribution"),
        config=beside_store.config_of(beside.path),
        telemetry_store="beside",
    )
    beside.go(slow_s=0.3)
    running.start()
    running.raise_limits()
    yield running
    running.stop()


def reasons(product: Product) -> dict[str, str]:
    """Why the pipeline is not ready, as ``/readyz`` says it."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{product.http_port}/readyz", timeout=5) as answer:
            said: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            said = json.load(error)
    return dict(said["reasons"])


def test_kills_and_an_outage_of_the_store(product: Product, beside: Beside, tmp_path: Path) -> None:
    load = product.add_devices("load", 20, prefix="load", stale_after_s=3600)
    watched = product.add_devices("watched", 5, prefix="watched", stale_after_s=THRESHOLD_S)
    fleets = [Fleet(product, tmp_path, "load", load, 600.0), Fleet(product, tmp_path, "watched", watched, 10.0)]
    try:
        for _ in range(3):
            fleets[0].heard()
            product.kill("pipeline")
            until_sync(product.ready, within_s=60, what="the pipeline")
        fleets[1].heard()
        beside.go(away=True)
        until_sync(lambda: "telemetry store beside" in reasons(product).get("data path", ""), within_s=30)
        time.sleep(_LEDGERS_SETTLE_S)
        before = [read_ledger(fleet.ledger) for fleet in fleets]
        time.sleep(OUTAGE_S - _LEDGERS_SETTLE_S)
        assert [read_ledger(fleet.ledger) for fleet in fleets] == before, "nothing was acknowledged"
        beside.go(slow_s=0.3)
        until_sync(product.ready, within_s=30, what="the pipeline")
        for wait_s in (THRESHOLD_S, 0):
            fleets[1].heard()
            time.sleep(wait_s)
        assert not alerts_of(product, "watched")
        for fleet in fleets:
            result = fleet.stop()
            assert result["unanswered"] == result["out_of_order"] == result["refused"] == 0, result
        until_sync(lambda: len(alerts_of(product, "watched")) == 5, within_s=30, what="the real silence")
    finally:
        for fleet in fleets:
            fleet.kill()
    for tenant, fleet in zip(("load", "watched"), fleets, strict=True):
        verdict = judge(read_ledger(fleet.ledger), product.shown_seqs(fleet.devices))
        assert verdict.holds, str(verdict)
        assert verdict.acknowledged > len(fleet.devices)
        kept = beside.seqs(tenant)
        assert all(len(kept[device[1]]) == len(set(kept[device[1]])) for device in fleet.devices)
    assert product.ledger()["balanced"]
