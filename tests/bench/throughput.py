"""How much comes in: MQTT beside a bare listener, HTTP in batches and singly beside a bare ASGI app."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Bench, Figure, Fleet, Meter, say
from pulse_postgres.roles import role_dsn
from pulse_server.embedded import running_url
from support.product import SECRET_KEY, Device, Product, free_ports, status_of
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 200
AIM = 20_000
_TESTS = str(Path(__file__).parents[1])


def mqtt(bench: Bench) -> list[Figure]:
    """MQTT QoS 1 from 200 connections with 3 metrics a message; then the acknowledgement's delay at a calmer rate.

    Calmer: 70 % of what was measured, or of the aim if that is less, because the messages of a paced run come one by
    one, and each then costs a read and a write of its own.
    """
    seconds = 60.0 if bench.full else 20.0
    with bench.product(Fleet("bench", CONNECTIONS)) as (product, (fleet,)):
        bare = [_bare_mqtt(bench, product, fleet, seconds / 4)]
        say("mqtt: the product")
        with Meter(product) as spent:
            ours = _mqtt(bench, product.mqtt_port, fleet, seconds=seconds)
        bare.append(_bare_mqtt(bench, product, fleet, seconds / 4))
        limit = sum(one["rate"] for one in bare) / len(bare)
        bench.facts["mqtt_rate"] = ours["rate"]
        calm = 0.7 * min(ours["rate"], AIM)
        say(f"mqtt: the product at {calm:,.0f} msg/s")
        paced = _mqtt(bench, product.mqtt_port, fleet, rate=calm, seconds=seconds / 2)
        bare_paced = _bare_mqtt(bench, product, fleet, seconds / 4, rate=calm)
    ratio = ours["rate"] / limit
    return [
        Figure(
            f"MQTT QoS 1, {CONNECTIONS} connections, {seconds:.0f} s",
            f"{ours['rate']:,.0f} msg/s acknowledged; {spent.each(ours['acknowledged'])}",
            "≥ 20,000 (floor 10,000) and ≥ 0.25 of the bare listener",
            ours["rate"] >= AIM and ratio >= 0.25,
            f"{limit:,.0f} msg/s: bare listener",
            ratio,
        ),
        Figure(
            f"PUBACK at {calm:,.0f} msg/s, every message by itself",
            f"p50 {paced['p50_ms']:.0f} ms, p99 {paced['p99_ms']:.0f} ms",
            "p99 ≤ 150 ms",
            paced["p99_ms"] <= 150 and not paced["unanswered"],
            f"p50 {bare_paced['p50_ms']:.0f} ms, p99 {bare_paced['p99_ms']:.0f} ms: bare listener",
            paced["p99_ms"] / bare_paced["p99_ms"],
        ),
    ]


def http_batch(bench: Bench) -> list[Figure]:
    """Readings in HTTP batches of 100, each with its device's token."""
    return [_http(bench, "http_batch", "HTTP batches of 100", "readings/s", 40_000, connections=48)]


def http_single(bench: Bench) -> list[Figure]:
    """One reading an HTTP post, over kept-alive connections."""
    return [_http(bench, "http", "Single HTTP posts", "requests/s", 8_000, connections=400)]


def _http(bench: Bench, way: str, title: str, unit: str, aim: int, connections: int) -> Figure:
    seconds = 60.0 if bench.full else 15.0
    with bench.product(Fleet("bench", 1000)) as (product, (fleet,)):
        asked: dict[str, Any] = {"way": way, "devices": fleet, "connections": connections}
        with bare_listener("bench.bare_http") as port:
            say(f"{way}: a bare ASGI app")
            bare = bench.load(**asked, port=port, seconds=seconds / 3)
        say(f"{way}: the product")
        with Meter(product) as spent:
            ours = bench.load(**asked, port=product.http_port, seconds=seconds)
    assert not ours["refused"], ours
    return Figure(
        title,
        f"{ours['rate']:,.0f} {unit}; {spent.each(ours['acknowledged'])}",
        f"≥ {aim:,}",
        ours["rate"] >= aim,
        f"{bare['rate']:,.0f}: bare ASGI app that stores nothing",
        ours["rate"] / bare["rate"],
    )


def _mqtt(bench: Bench, port: int, fleet: list[Device], **asked: Any) -> dict[str, Any]:
    result = bench.load(way="mqtt", port=port, devices=fleet, connections=CONNECTIONS, **asked)
    assert not result["out_of_order"], result
    return result


def _bare_mqtt(bench: Bench, product: Product, fleet: list[Device], seconds: float, **asked: Any) -> dict[str, Any]:
    say("mqtt: the bare listener")
    url = running_url(product.data_dir / "postgres")
    assert url
    with product.superuser() as connection:
        connection.execute("SELECT ensure_telemetry_day(current_date), ensure_telemetry_day(current_date + 1)")
    dsn = role_dsn(url, "pulse_pipeline", SECRET_KEY)
    with bare_listener("bench.bare", dsn) as port:
        return _mqtt(bench, port, fleet, seconds=seconds, warmup_s=1.0, **asked)


@contextmanager
def bare_listener(module: str, *arguments: str) -> Iterator[int]:
    """One of the bare listeners, as a process; give its port."""
    (port,) = free_ports(1)
    environment = {**os.environ, "PYTHONPATH": _TESTS}
    command = [sys.executable, "-m", module, *arguments, str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            if module == "bench.bare_http":
                until_sync(lambda: status_of(f"http://127.0.0.1:{port}/"), what=module)
            else:
                assert process.stdout is not None
                process.stdout.readline()
            yield port
        finally:
            process.kill()
