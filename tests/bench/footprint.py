"""What it takes: start and memory with 100,000 devices, all of them silent at once, idle, and over time."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Any

from bench.figures import Bench, Figure, Fleet, Meter, cpu_s, percentile, rss_mb, say
from support.waiting import until_sync

if TYPE_CHECKING:
    from support.generator import Generator
    from support.product import Device, Product

CROWD = 100_000
CROWD_THRESHOLD_S = 20.0
STEADY_RATE = 5000.0
_ROLES = ("pipeline", "deliver", "web")


def storm(bench: Bench) -> list[Figure]:
    """100,000 devices: start to ready, memory, and then all of them silent at once while others go on."""
    fleets = Fleet("crowd", CROWD, CROWD_THRESHOLD_S), Fleet("bench", 200)
    with bench.product(*fleets) as (product, (crowd, background)):
        hear_once(bench, product, crowd)
        product.stop()
        say("storm: start with 100,000 devices")
        whole_s = product.start(within_s=120)
        pipeline_s = _pipeline_start_s(product)
        memory_mb = rss_mb(product, "pipeline")
        started_cpu_s = cpu_s(product.process("pipeline"))
        load = bench.start_load(
            way="mqtt", port=product.mqtt_port, devices=background, rate=STEADY_RATE, seconds=600, warmup_s=1.0
        )
        try:
            with Meter(product) as spent:
                opened = _watch_alerts(product, load)
        finally:
            load.kill()
    return [
        Figure(
            f"{CROWD:,} devices with state: start → ready",
            f"pipeline {pipeline_s:.1f} s (CPU: {started_cpu_s:.1f} s), `pulse up` with PostgreSQL {whole_s:.1f} s",
            "≤ 5 s",
            pipeline_s <= 5,
        ),
        Figure(f"{CROWD:,} devices: pipeline resident", f"{memory_mb:.0f} MB", "≤ 400 MB", memory_mb <= 400),
        _storm_figure(opened, spent),
    ]


def _storm_figure(opened: dict[str, Any], spent: Meter) -> Figure:
    during, before = opened["during"], opened["before"]
    slowest = min(during, default=0)
    return Figure(
        f"{CROWD:,} devices silent at once, {STEADY_RATE:,.0f} msg/s from others",
        f"{opened['alerts']:,} alerts in {opened['seconds']:.1f} s; ingestion meanwhile "
        f"{sum(during) / max(1, len(during)):,.0f} msg/s, slowest second {slowest:,}; "
        f"CPU from start to end: pipeline {spent.role_s:.0f} s, PostgreSQL {spent.postgres_s:.0f} s",
        "all of them, ingestion does not stall",
        bool(opened["alerts"] == CROWD and slowest >= STEADY_RATE / 2),
        f"{percentile(before, 0.5):,.0f} msg/s before it",
        sum(during) / max(1, len(during)) / max(1.0, percentile(before, 0.5)),
    )


def hear_once(bench: Bench, product: Product, crowd: list[Device]) -> None:
    """Let every device say something, so that each has a state."""
    say("storm: every device says something")
    load = bench.start_load(
        way="http_batch", port=product.http_port, devices=crowd, connections=8, batch=200, seconds=600
    )
    try:
        with product.superuser() as connection:
            until_sync(
                lambda: (
                    connection.execute(
                        "SELECT count(*) FROM device_state WHERE device_id LIKE %s", (f"{crowd[0][0]}-%",)
                    ).fetchone()
                    == (len(crowd),)
                ),
                within_s=300,
                every_s=0.5,
                what="a state for each device",
            )
    finally:
        load.kill()


def _pipeline_start_s(product: Product) -> float:
    """From the start of the pipeline's process to the run file that says it is ready."""
    ready_at = (product.data_dir / "run" / "pipeline.json").stat().st_mtime
    return ready_at - product.process("pipeline").create_time()


def _watch_alerts(product: Product, load: Generator) -> dict[str, Any]:
    """Count alerts (and committed messages of the others) several times a second until all are open."""
    say("storm: waiting for the silence to be noticed")
    load.connected()
    seen: list[tuple[float, int, int]] = []
    end = time.monotonic() + CROWD_THRESHOLD_S + 300
    with product.superuser() as connection:
        connection.execute("SET statement_timeout = '20s'")
        while time.monotonic() < end and (not seen or seen[-1][1] < CROWD):
            alerts = connection.execute("SELECT count(*) FROM alerts").fetchone()
            seen.append((time.monotonic(), alerts[0] if alerts else 0, committed(product)))
            time.sleep(0.25)
    first = next((index for index, (_, alerts, _) in enumerate(seen) if alerts), len(seen) - 1)
    begin = max(0, first - 1)
    each = rates(seen)
    return {
        "alerts": seen[-1][1],
        "seconds": seen[-1][0] - seen[begin][0],
        "before": [rate for at_s, rate in each if at_s <= seen[begin][0]][2:] or [0.0],
        "during": [rate for at_s, rate in each if at_s > seen[begin][0]],
    }


def rates(seen: list[tuple[float, int, int]]) -> list[tuple[float, int]]:
    """Messages committed in each second, with the second's end."""
    per_second: list[tuple[float, int]] = []
    since = seen[0]
    for one in seen:
        if one[0] - since[0] >= 1.0:
            per_second.append((one[0], round((one[2] - since[2]) / (one[0] - since[0]))))
            since = one
    return per_second


def committed(product: Product) -> int:
    """How many readings the pipeline says it has committed."""
    return round(metric(product, "pulse_readings_committed_total"))


def metric(product: Product, name: str) -> float:
    """One of the pipeline's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{product.http_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(name)))


def idle(bench: Bench) -> list[Figure]:
    """All processes without PostgreSQL, with nothing to do."""
    with bench.product() as (product, _):
        time.sleep(5)
        each = {name: rss_mb(product, name) for name in ("up", *_ROLES)}
    total = sum(each.values())
    parts = ", ".join(f"{name} {size:.0f}" for name, size in each.items())
    return [Figure("Idle, all processes without PostgreSQL", f"{total:.0f} MB ({parts})", "≤ 350 MB", total <= 350)]


def memory(bench: Bench) -> list[Figure]:
    """The pipeline's memory over minutes of load."""
    seconds = 300.0 if bench.full else 40.0
    rate = 0.5 * bench.facts.get("mqtt_rate", 2 * STEADY_RATE)
    with bench.product(Fleet("bench", 200)) as (product, (fleet,)):
        load = bench.start_load(way="mqtt", port=product.mqtt_port, devices=fleet, rate=rate, seconds=seconds + 600)
        sizes: list[float] = []
        try:
            load.connected()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(1)
                sizes.append(rss_mb(product, "pipeline"))
        finally:
            load.kill()
    early, late = sizes[len(sizes) // 5], sizes[-1]
    growth = (late - early) / early
    return [
        Figure(
            f"Pipeline's memory over {seconds:.0f} s at {rate:,.0f} msg/s",
            f"{early:.0f} MB after a fifth, {late:.0f} MB at the end ({100 * growth:+.1f} %)",
            "flat (≤ 5 %)",
            growth <= 0.05,
        )
    ]
