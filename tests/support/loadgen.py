"""The load generator, a process of its own: ``python -m support.loadgen SPEC.json`` with ``tests`` on PYTHONPATH.

It prints ``{"event": "connected"}`` when every connection is up for the first time, and at the end its
:class:`~support.load_stats.LoadResult` as JSON. SIGTERM ends the sending early; what is in flight is still waited for.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from support.load_http import HttpLoad
from support.load_mqtt import MqttLoad
from support.load_qos import BY_QOS
from support.load_stats import Load, LoadResult, LoadSpec
from support.load_wire import DeviceWords

if TYPE_CHECKING:
    from collections.abc import Sequence

_TICK_S = 0.005
_PARENT_CHECK_S = 0.5
_CONNECT_WITHIN_S = 120.0
_RAMP_S = 0.002
"""Between two connects at the start: 200 connections need not fight for one accept queue."""

Connection = MqttLoad | HttpLoad


def _connections(load: Load) -> list[Connection]:
    spec = load.spec
    words = [
        (number, DeviceWords(*device, qos=spec.qos, version=spec.version)) for number, device in enumerate(spec.devices)
    ]
    if spec.way == "mqtt":
        return [BY_QOS[spec.qos](load, number, word) for number, word in words[: spec.connections]]
    return [HttpLoad(load, words[first :: spec.connections]) for first in range(spec.connections)]


async def run(spec: LoadSpec) -> LoadResult:
    """Do what ``spec`` asks and sum up."""
    load = Load(spec)
    enough = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    orphan = asyncio.create_task(_outlive_nobody())
    account = asyncio.create_task(load.ledger.run()) if load.ledger else None
    connections = _connections(load)
    for connection in connections:
        connection.start()
        await asyncio.sleep(_RAMP_S)
    async with asyncio.timeout(_CONNECT_WITHIN_S):
        await asyncio.gather(*(connection.connected.wait() for connection in connections))
    load.begun = True
    for connection in connections:
        connection.fill()
    _say({"event": "connected"})
    pacing = asyncio.create_task(_pace(load, connections))
    at_start, at_end, seconds = await _measure(load, enough)
    pacing.cancel()
    orphan.cancel()
    await _drain(connections, spec.drain_s)
    if account is not None:
        account.cancel()
        await asyncio.wait({account})
    for connection in connections:
        connection.close()
    return load.finish(at_start, at_end, seconds)


async def _measure(load: Load, enough: asyncio.Event) -> tuple[int, int, float]:
    await _pause(enough, load.spec.warmup_s)
    load.forget_latencies()
    began, at_start = time.monotonic(), load.result.acknowledged
    last = at_start
    while not enough.is_set() and time.monotonic() - began < load.spec.seconds:
        await _pause(enough, min(1.0, load.spec.seconds))
        load.result.per_second.append(load.result.acknowledged - last)
        last = load.result.acknowledged
    load.sending = False
    return at_start, load.result.acknowledged, time.monotonic() - began


async def _pause(enough: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(enough.wait(), seconds)
    except TimeoutError:
        return


async def _pace(load: Load, connections: Sequence[Connection]) -> None:
    """In an open-loop run, give every connection its messages when they are due."""
    if load.spec.rate is None:
        return
    began, given, turn = time.monotonic(), 0, 0
    while load.sending:
        now = time.monotonic()
        due = int((now - began) * load.spec.rate) - given
        each, over = divmod(due, len(connections))
        for offset in range(len(connections) if each else over):
            connections[(turn + offset) % len(connections)].send(each + (offset < over), now)
        turn, given = (turn + over) % len(connections), given + due
        await asyncio.sleep(_TICK_S)


async def _drain(connections: Sequence[Connection], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(connection.in_flight for connection in connections) and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(_TICK_S)


async def _outlive_nobody() -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells us; we must look
        await asyncio.sleep(_PARENT_CHECK_S)
    os._exit(1)


def _say(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the spec that the first argument names."""
    spec = LoadSpec(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _say(runner.run(run(spec)).as_json())


if __name__ == "__main__":
    main()
