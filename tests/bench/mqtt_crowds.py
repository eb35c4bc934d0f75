"""What devices cost that wait, that log in all the time, and that are sent commands."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import time
from typing import TYPE_CHECKING, TypeVar

import uvloop

from bench.figures import Bench, Figure, Fleet, percentile, rss_mb, say
from support.mqtt_crowd import Logins, allow_files, gathered

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from support.product import Device, Product

IDLE = 10_000
MOST_BYTES = 12_000
LOGINS_PER_S = 500
AIM_CONNACK_MS, AIM_COMMAND_MS = 100.0, 200.0
AIM_PUBLISHERS = 0.5
STEADY_RATE = 5_000.0
COMMANDED, COMMANDS = 50, 300
_SETTLE_S = 5.0
_FILES = 12_000
T = TypeVar("T")
_A_WRITE_S = 0.11
"""No more often does the platform let a token write for long."""


def mqtt_idle(bench: Bench) -> list[Figure]:
    """10,000 devices that have subscribed to their commands and wait."""
    count = IDLE // 20 if bench.small else IDLE
    allow_files(_FILES)
    return [_idle(bench, count, version) for version in (4, 5)]


def _idle(bench: Bench, count: int, version: int) -> Figure:
    say(f"mqtt_idle: {count:,} connections, version {version}")
    with bench.product(Fleet("idle", count)) as (product, (fleet,)):
        before, after = _run(_waiting(product, fleet, version))
    each = 1e6 * (after - before) / count
    return Figure(
        f"{count:,} idle connections of version {version}, subscribed",
        f"{each:,.0f} bytes each; pipeline resident {before:.0f} MB before, {after:.0f} MB with them",
        f"≤ {MOST_BYTES:,} bytes",
        each <= MOST_BYTES,
    )


async def _waiting(product: Product, fleet: list[Device], version: int) -> tuple[float, float]:
    """Memory (MB) before and while they wait. A tenth comes and goes first: what the first ones cost is not theirs."""
    for waiting in await gathered(product.mqtt_port, fleet[: len(fleet) // 10], version):
        waiting.close()
    await asyncio.sleep(_SETTLE_S)
    before = rss_mb(product, "pipeline")
    held = await gathered(product.mqtt_port, fleet, version)
    await asyncio.sleep(_SETTLE_S)
    after = rss_mb(product, "pipeline")
    for waiting in held:
        waiting.close()
    return before, after


def mqtt_logins(bench: Bench) -> list[Figure]:
    """500 logins a second beside 200 publishers that send as fast as they can, and beside some that do not."""
    seconds = 60.0 if bench.full else 3.0 if bench.small else 15.0
    allow_files(_FILES)
    with bench.product(Fleet("bench", 200), Fleet("guests", 2000)) as (product, (fleet, guests)):
        asked: dict[str, Any] = {"way": "mqtt", "port": product.mqtt_port, "devices": fleet, "seconds": seconds + 600}
        alone = bench.load(**{**asked, "seconds": seconds})["rate"]
        busy, busy_per_s, beside = _logging_in(bench, product, guests, seconds, asked)
        calm, calm_per_s, _ = _logging_in(bench, product, guests, seconds, {**asked, "rate": STEADY_RATE})
    return [
        Figure(
            f"Publishers beside {LOGINS_PER_S} logins/s, {seconds:.0f} s",
            f"{beside:,.0f} msg/s; {busy_per_s:,.0f} logins/s, {busy.failed} failed, CONNACK {_told(busy)}",
            f"{LOGINS_PER_S} logins/s, ≥ {AIM_PUBLISHERS} of the publishers' rate",
            busy_per_s >= 0.95 * LOGINS_PER_S and not busy.failed and beside >= AIM_PUBLISHERS * alone,
            f"{alone:,.0f} msg/s without logins",
            beside / alone,
        ),
        Figure(
            f"TCP's first packet → CONNACK at {LOGINS_PER_S} logins/s beside {STEADY_RATE:,.0f} msg/s",
            f"{_told(calm)}; {calm_per_s:,.0f} logins/s, {calm.failed} failed",
            f"p99 ≤ {AIM_CONNACK_MS:.0f} ms",
            not calm.failed and 1e3 * percentile(calm.took_s, 0.99) <= AIM_CONNACK_MS,
        ),
    ]


def _logging_in(
    bench: Bench, product: Product, guests: list[Device], seconds: float, asked: dict[str, Any]
) -> tuple[Logins, float, float]:
    """Logins while a load runs: how they went, how many a second, and the load's rate meanwhile."""
    say(f"mqtt_logins: {LOGINS_PER_S} logins/s beside {asked.get('rate') or 'as many as can be'} msg/s")
    load = bench.start_load(**asked)
    try:
        load.connected()
        logins = Logins(product.mqtt_port, guests, 4)
        per_s = _run(logins.run(LOGINS_PER_S, seconds + 2))
        load.stop()
        result = load.result(within_s=180)
    finally:
        load.kill()
    during = result["per_second"][1:-1]
    return logins, per_s, sum(during) / max(1, len(during))


def mqtt_commands(bench: Bench) -> list[Figure]:
    """A customer's POST of a command → its device has it, while nothing else happens and beside 5,000 msg/s."""
    count = COMMANDS // 10 if bench.small else COMMANDS
    with bench.product(Fleet("bench", 200), Fleet("robots", COMMANDED)) as (product, (fleet, robots)):
        token = _token_of(product, "robots")
        quiet = _run(_commanded(product, robots, token, count))
        load = bench.start_load(way="mqtt", port=product.mqtt_port, devices=fleet, rate=STEADY_RATE, seconds=600.0)
        try:
            load.connected()
            busy = _run(_commanded(product, robots, token, count))
        finally:
            load.kill()
    return [
        Figure(
            f"POST of a command → its device has it ({count} times), {beside}",
            f"p50 {1e3 * percentile(took_s, 0.5):.1f} ms, p99 {1e3 * percentile(took_s, 0.99):.1f} ms",
            f"p99 ≤ {AIM_COMMAND_MS:.0f} ms",
            1e3 * percentile(took_s, 0.99) <= AIM_COMMAND_MS,
        )
        for beside, took_s in (("alone", quiet), (f"beside {STEADY_RATE:,.0f} msg/s", busy))
    ]


async def _commanded(product: Product, robots: list[Device], token: str, count: int) -> list[float]:
    """How long each command took, one after the other."""
    came: asyncio.Queue[float] = asyncio.Queue()
    waiting = await gathered(product.mqtt_port, robots, 4, lambda _: came.put_nowait(time.monotonic()))
    caller = http.client.HTTPConnection("127.0.0.1", product.web_port, timeout=30)
    took_s = []
    for number in range(count):
        began = time.monotonic()
        posting = asyncio.to_thread(_post, caller, token, robots[number % len(robots)][1])
        _, at_s = await asyncio.gather(posting, asyncio.wait_for(came.get(), 30))
        took_s.append(at_s - began)
        await asyncio.sleep(max(0.0, began + _A_WRITE_S - time.monotonic()))
    caller.close()
    for each in waiting:
        each.close()
    return took_s


def _post(caller: http.client.HTTPConnection, token: str, device_id: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    caller.request("POST", f"/customer/devices/{device_id}/commands", json.dumps({"name": "blink"}), headers)
    answer = caller.getresponse()
    assert answer.status == 201, answer.read()
    answer.read()


def _token_of(product: Product, tenant: str) -> str:
    said = product.pulse("tokens", "add", "--name", "bench", "--role", "customer_admin", "--tenant", tenant)
    found = re.search(r"pulse_[\w-]{43}", said.stdout)
    assert found, said.stderr
    return found[0]


def _told(logins: Logins) -> str:
    took_s = logins.took_s or [0.0]
    return f"p50 {1e3 * percentile(took_s, 0.5):.0f} ms, p99 {1e3 * percentile(took_s, 0.99):.0f} ms"


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
