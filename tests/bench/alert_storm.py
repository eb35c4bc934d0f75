"""10,000 devices fall silent together, and somebody is to be told of each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.channels import webhook_config
from bench.figures import Bench, Figure, Fleet, Meter, percentile, say
from bench.footprint import committed, hear_once, rates
from bench.receiver import route
from support.sink_process import Sink
from support.sinks import SinkSpec

if TYPE_CHECKING:
    from support.generator import Generator
    from support.product import Product

CROWD = 10_000
THRESHOLD_S = 15.0
SPREAD_S = 9.0
STEADY_RATE = 5000.0
WITHIN_S = 60.0
_FACTS = """
    SELECT count(*), count(*) FILTER (WHERE d.status = 'DELIVERED'),
           extract(epoch FROM max(a.opened_at) - min(a.opened_at))::float8,
           extract(epoch FROM max(d.finished_at) - min(a.opened_at))::float8
    FROM deliveries d JOIN alerts a USING (tenant_id, alert_id)
"""


def storm_out(bench: Bench) -> list[Figure]:
    """10,000 devices silent within 10 s, through the pipeline to one webhook, while others report."""
    with (
        bench.product(Fleet("crowd", CROWD, THRESHOLD_S), Fleet("bench", 200)) as (product, (crowd, background)),
        Sink(bench.fresh_folder(), SinkSpec("webhook")) as sink,
    ):
        route(product, "crowd", webhook_config(sink.ports[0]), ["OPEN"])
        _spread(product)
        load = bench.start_load(
            way="mqtt", port=product.mqtt_port, devices=background, rate=STEADY_RATE, seconds=600, warmup_s=1.0
        )
        try:
            load.connected()
            hear_once(bench, product, crowd)
            with Meter(product, "deliver", "delivery") as spent:
                facts = _watch(product, load)
        finally:
            load.kill()
        received = sink.count
    assert received >= facts["delivered"], "the receiver has not seen what counts as delivered"
    slowest, before = min(facts["during"], default=0.0), percentile(facts["before"], 0.5)
    mean = sum(facts["during"]) / max(1, len(facts["during"]))
    return [
        Figure(
            f"{CROWD:,} devices silent within {facts['opened_s']:.1f} s → one webhook",
            f"{facts['delivered']:,} delivered {facts['delivered_s']:.1f} s after the first alert; ingestion meanwhile "
            f"{mean:,.0f} msg/s, slowest second {slowest:,.0f}; {spent.each(CROWD)}",
            f"all of them within {WITHIN_S:.0f} s, ingestion does not stall",
            bool(facts["delivered"] == CROWD and facts["delivered_s"] <= WITHIN_S and slowest >= STEADY_RATE / 2),
            f"{before:,.0f} msg/s before it",
            mean / max(1.0, before),
        )
    ]


def _spread(product: Product) -> None:
    """Give each device a threshold of its own: they are heard within a second, and missed one after the other."""
    with product.superuser() as connection:
        connection.execute(
            "UPDATE devices SET stale_after_s = %s + random() * %s WHERE tenant_id = 'crowd'", (THRESHOLD_S, SPREAD_S)
        )


def _watch(product: Product, load: Generator) -> dict[str, Any]:
    """Look several times a second until everything is delivered."""
    say("storm_out: waiting for the silence to be noticed, and told")
    seen: list[tuple[float, int, int]] = []
    facts: tuple[Any, ...] = (0, 0, 0.0, 0.0)
    end = time.monotonic() + THRESHOLD_S + 4 * WITHIN_S
    with product.superuser() as connection:
        while time.monotonic() < end and facts[1] < CROWD:
            facts = connection.execute(_FACTS).fetchone() or facts
            seen.append((time.monotonic(), facts[0], committed(product)))
            time.sleep(0.25)
    begin = next((at_s for at_s, alerts, _ in seen if alerts), seen[-1][0])
    each = rates(seen)
    return {
        "delivered": facts[1],
        "opened_s": facts[2] or 0.0,
        "delivered_s": facts[3] or 0.0,
        "before": [rate for at_s, rate in each if at_s <= begin][2:] or [0.0],
        "during": [rate for at_s, rate in each if at_s > begin],
    }
