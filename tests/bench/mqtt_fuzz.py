"""Frames that are almost right, against the product as it runs."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import uvloop

from bench.figures import Bench, Figure, Fleet, rss_mb, say
from support.mqtt_fuzz import Found, Fuzzer, Target

if TYPE_CHECKING:
    from support.product import Device, Product

SEED = 20_260_207
FULL, USUAL, SMALL = 1_000_000, 50_000, 5_000
MOST_GROWTH_MB = 50
_WARM_UP = 10
"""One of so many frames is sent before the memory is measured for the first time."""
_UNEXPECTED = re.compile(r"Traceback|Fatal error|mqtt\.failed|\[(?:error|critical) *\]")
_GARBAGE = """
    SELECT count(*) FROM telemetry WHERE NOT (
        (tenant_id, device_id) = ANY (SELECT * FROM unnest(%(tenants)s::text[], %(devices)s::text[]))
        AND msg_type IN ('telemetry', 'event', 'heartbeat') AND site_id = 's-1'
        AND NOT jsonb_path_exists(metrics, '$.* ? (@.type() == "object" || @.type() == "array" || @.type() == "null")')
        AND ts BETWEEN now() - interval '1 day' AND now() + interval '10 minutes')
"""


def fuzz(bench: Bench) -> list[Figure]:
    """Mutated packets of both versions over real connections, before and after login (--full: a million)."""
    frames = FULL if bench.full else SMALL if bench.small else USUAL
    with bench.product(Fleet("fuzz", 5)) as (product, (fleet,)):
        target = Target(product.mqtt_port, fleet)
        say(f"fuzz: {frames:,} frames, seed {SEED}")
        before = product.process("pipeline")
        _run(target, SEED + 1, frames // _WARM_UP)
        early_mb = rss_mb(product, "pipeline")
        found = _run(target, SEED, frames)
        growth_mb = rss_mb(product, "pipeline") - early_mb
        crashes = int(product.process("pipeline") != before) + len(_UNEXPECTED.findall(product.log()))
        stored, garbage = _stored(product, fleet[:-1])
    say(f"fuzz: {found}")
    wrong = len(found.hangs) + len(found.refused) + len(found.garbled) + crashes + garbage
    return [
        Figure(
            f"{found.frames:,} mutated frames over {found.connections:,} connections, seed {SEED}",
            f"{crashes} crashes, {len(found.hangs)} hangs, {len(found.garbled)} answers that are no packets, "
            f"{garbage} of {stored:,} stored readings not valid; memory {growth_mb:+.0f} MB; {found.seconds:.0f} s, "
            f"slowest close {found.slowest_close_s:.2f} s, slowest answer to a good one {found.slowest_answer_s:.2f} s",
            f"0 crashes, 0 hangs over 5 s, nothing stored but valid, ≤ {MOST_GROWTH_MB} MB",
            not wrong and growth_mb <= MOST_GROWTH_MB and stored > 0,
        )
    ]


def _run(target: Target, seed: int, frames: int) -> Found:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Fuzzer(target, seed=seed, frames=frames).run())


def _stored(product: Product, devices: list[Device]) -> tuple[int, int]:
    """How many readings are stored, and how many of them should not be."""
    names = {"tenants": [device[0] for device in devices], "devices": [device[1] for device in devices]}
    with product.superuser() as connection:
        total, garbage = (
            connection.execute(query, names).fetchone() or (0,)
            for query in ("SELECT count(*) FROM telemetry", _GARBAGE)
        )
    return int(total[0]), int(garbage[0])
