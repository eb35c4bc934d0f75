"""The instruments of the crash proof: would they notice a loss, and do they survive what they are to measure?"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from support.fake_front_door import FakeFrontDoor
from support.ledger import LedgerWriter, Verdict, judge, read_ledger
from support.load_stats import LoadSpec

TESTS = Path(__file__).parents[1]
DEVICES = [("t", f"d-{number}", "s", "token") for number in range(8)]


async def generate(spec: LoadSpec, folder: Path) -> dict[str, Any]:
    path = folder / "spec.json"
    path.write_text(json.dumps(asdict(spec)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.loadgen", str(path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


async def run_against(door: FakeFrontDoor, folder: Path, **asked: Any) -> tuple[LoadSpec, dict[str, Any], Verdict]:
    ledger = folder / "ledger"
    spec = LoadSpec(port=await door.start(), devices=DEVICES, ledger=str(ledger), seconds=1.0, warmup_s=0.1, **asked)
    try:
        result = await generate(spec, folder)
    finally:
        await door.stop()
    return spec, result, judge(read_ledger(ledger), door.shown(spec))


@pytest.mark.parametrize(
    "asked",
    [
        {"way": "mqtt", "connections": 8, "window": 16},
        {"way": "mqtt", "connections": 8, "rate": 2000.0},
        {"way": "mqtt", "connections": 8, "window": 16, "qos": 2},
        {"way": "mqtt", "connections": 8, "rate": 2000.0, "qos": 2, "version": 5},
        {"way": "http", "connections": 4},
        {"way": "http_batch", "connections": 4, "batch": 10},
    ],
    ids=["mqtt", "mqtt at a rate", "QoS 2", "QoS 2 of MQTT 5 at a rate", "http", "http in batches"],
)
async def test_an_honest_peer_that_breaks_connections_passes(tmp_path: Path, asked: dict[str, Any]) -> None:
    door = FakeFrontDoor(break_every=130)
    _, result, verdict = await run_against(door, tmp_path, **asked)
    assert door.breaks > 2
    assert result["reconnects"] >= door.breaks
    assert result["unanswered"] == result["refused"] == result["out_of_order"] == 0
    assert verdict.acknowledged == result["acknowledged"] > 100
    assert verdict.holds, str(verdict)


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_loss_is_noticed(tmp_path: Path, qos: int) -> None:
    asked = {"way": "mqtt", "connections": 8, "rate": 2000.0, "qos": qos}
    _, _, verdict = await run_against(FakeFrontDoor(forgetful=True), tmp_path, **asked)
    assert verdict.lost
    assert not verdict.doubled


@pytest.mark.parametrize("version", [4, 5])
async def test_what_nobody_acknowledges_is_read(tmp_path: Path, version: int) -> None:
    asked = {"way": "mqtt", "connections": 8, "window": 16, "qos": 0, "version": version}
    _, result, verdict = await run_against(FakeFrontDoor(), tmp_path, **asked)
    assert result["unanswered"] == result["out_of_order"] == 0
    assert verdict.acknowledged == verdict.shown == result["sent"] > 100
    assert verdict.holds, str(verdict)


async def test_a_double_is_noticed(tmp_path: Path) -> None:
    door = FakeFrontDoor(break_every=130, echoing=True)
    _, _, verdict = await run_against(door, tmp_path, way="mqtt", connections=8, rate=2000.0)
    assert verdict.doubled
    assert not verdict.lost


async def test_a_paced_run_keeps_its_rate(tmp_path: Path) -> None:
    _, result, _ = await run_against(FakeFrontDoor(), tmp_path, way="mqtt", connections=8, rate=500.0)
    assert 300 < result["rate"] < 600
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"]


def test_a_torn_line_of_the_ledger_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    writer = LedgerWriter(path)
    writer.acknowledged(0, 5, 7)
    writer.acknowledged(3, 1, 1)
    writer.close()
    with path.open("ab") as ledger:
        ledger.write(b"3 2 3")
    assert read_ledger(path) == {0: {5, 6, 7}, 3: {1}}


def test_judging() -> None:
    verdict = judge({0: {1, 2, 3}, 1: {9}}, {0: [1, 3, 3, 4], 2: [1]})
    assert verdict == Verdict(acknowledged=4, shown=5, lost=((0, 2), (1, 9)), doubled=((0, 3),))
    assert not verdict.holds
