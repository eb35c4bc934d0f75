"""What open live pages cost those who send: ingestion with and without them, turn about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Bench, Figure, Fleet, Meter, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.product import Device, Product

CONNECTIONS = 200
STREAMS = 200
EACH = 20
RATE = 1000
MOST_MORE = 0.05
_TESTS = str(Path(__file__).parents[1])


@dataclass
class Run:
    """What some runs of the same kind came to."""

    rates: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    spent_s: float = 0.0
    """CPU of pipeline and PostgreSQL."""
    web_s: float = 0.0
    acknowledged: int = 0
    took_s: float = 0.0

    @property
    def each_us(self) -> float:
        """CPU a message."""
        return 1e6 * self.spent_s / self.acknowledged


def watched(bench: Bench) -> list[Figure]:
    """MQTT QoS 1 as fast as it goes, and at 1,000 msg/s, while 200 pages listen to the tenant that sends.

    Judged by the CPU that a message takes: rates of a machine that does other things, too, differ more than this.
    """
    seconds = 20.0 if bench.full else 10.0
    fast, paced = ({False: Run(), True: Run()} for _ in range(2))
    with bench.product(Fleet("bench", CONNECTIONS)) as (product, (fleet,)):
        tokens = [_token(product, f"page {number}") for number in range(STREAMS // EACH)]
        for _ in range(3):
            for pages, tokens_used in ((False, []), (True, tokens)):
                for runs, rate in ((fast, {}), (paced, {"rate": RATE})):
                    with _pages(product, tokens_used):
                        _run(bench, product, fleet, runs[pages], seconds, **rate)
    return [_figure("as fast as it goes", fast), _figure(f"at {RATE} msg/s", paced)]


def _run(bench: Bench, product: Product, fleet: list[Device], run: Run, seconds: float, **rate: float) -> None:
    with Meter(product) as spent, Meter(product, "web") as web:
        load = bench.load(
            way="mqtt", port=product.mqtt_port, devices=fleet, connections=CONNECTIONS, seconds=seconds, **rate
        )
    run.rates.append(load["rate"])
    run.delays_ms.append(load["p99_ms"])
    run.spent_s += spent.role_s + spent.postgres_s
    run.web_s += web.role_s
    run.acknowledged += load["acknowledged"]
    run.took_s += seconds


def _figure(how: str, runs: dict[bool, Run]) -> Figure:
    alone, together = runs[False], runs[True]
    return Figure(
        f"MQTT QoS 1 {how}, {STREAMS} live pages open",
        f"{_told(together)}; web {together.web_s / together.took_s:.0%} of a core",
        f"CPU a message ≤ {1 + MOST_MORE:.2f}",
        together.each_us <= (1 + MOST_MORE) * alone.each_us,
        f"{_told(alone)}: no page",
        together.each_us / alone.each_us,
    )


def _told(run: Run) -> str:
    rate, delay_ms = (sorted(each)[len(each) // 2] for each in (run.rates, run.delays_ms))
    delay = f"p99 {delay_ms:.0f} ms, " if delay_ms else ""
    return f"{rate:,.0f} msg/s, {delay}CPU a message {run.each_us:.1f} µs"


def _token(product: Product, name: str) -> str:
    said = product.pulse("tokens", "add", "--role", "customer_viewer", "--tenant", "bench", "--name", name)
    found = re.search(r"pulse_[\w-]{43}", said.stdout)
    assert found, said.stderr
    return found[0]


@contextmanager
def _pages(product: Product, tokens: list[str]) -> Iterator[None]:
    """Pages of a process of their own that listen; without tokens, none."""
    if not tokens:
        yield
        return
    url = f"http://127.0.0.1:{product.web_port}/customer/events"
    command = [sys.executable, "-m", "bench.watchers", url, str(EACH), *tokens]
    environment = {**os.environ, "PYTHONPATH": _TESTS}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pages:
        assert pages.stdout is not None
        assert pages.stdin is not None
        assert pages.stdout.readline() == b"ready\n"
        yield
        pages.stdin.close()
        say(f"the pages heard {int(pages.stdout.readline()):,} notices")
