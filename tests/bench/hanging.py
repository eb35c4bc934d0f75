"""What one endpoint that never answers costs the others."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from bench.channels import FLEETS, webhook_config
from bench.figures import Bench, Figure, percentile, say
from bench.outbox import emptied, integrate, trickle
from support.sink_process import Sink
from support.sinks import SinkSpec

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from bench.outbox import Integration

ENDPOINTS = 100
RATE = 500.0
"""Deliveries a second, to all endpoints together."""
ROUNDS = 6
"""Of a stretch without and one with an endpoint that hangs: what else the machine does disturbs both alike."""
_DUE = """
    SELECT d.delivery_id::text, (extract(epoch FROM d.due_at) * 1e6)::bigint FROM deliveries d
    WHERE d.created_at >= %s AND d.created_at < %s AND d.integration_id = ANY(%s::uuid[])
"""
_NO_MORE = """
    UPDATE deliveries SET status = 'CANCELLED', finished_at = now()
    WHERE integration_id = %s::uuid AND status IN ('PENDING', 'RETRYING')
"""


class Phase:
    """One stretch of steady load, and when it was."""

    def __init__(self, connection: psycopg.Connection[Any], integrations: list[Integration], seconds: float) -> None:
        self.began = self._now(connection)
        trickle(connection, integrations, RATE, seconds)
        self.ended = self._now(connection)

    def _now(self, connection: psycopg.Connection[Any]) -> Any:
        row = connection.execute("SELECT now()").fetchone()
        assert row is not None
        return row[0]


def hanging(bench: Bench) -> list[Figure]:
    """100 endpoints under steady load: the delay from due to received at 99 of them, while the last one hangs."""
    notes = bench.fresh_folder()
    notes.mkdir(parents=True)
    seconds = 15.0 if bench.full else 5.0
    spec = SinkSpec("webhook", ENDPOINTS + ROUNDS, silent=ROUNDS, notes=str(notes / "webhooks"))
    with bench.product(*FLEETS) as (product, _), Sink(bench.fresh_folder(), spec) as sink:
        made = integrate(product, "webhook", [webhook_config(port) for port in sink.ports])
        hung, good = made[:ROUNDS], made[ROUNDS:]
        with product.superuser() as connection:
            phases = _phases(connection, sink, good, hung, seconds)
            delays = [_delays(connection, notes / "webhooks", one, good[:-1]) for pair in phases for one in pair]
    calm, disturbed = delays[::2], delays[1::2]
    pairs = zip(calm, disturbed, strict=True)
    ratio = statistics.median(percentile(with_it, 0.99) / percentile(without, 0.99) for without, with_it in pairs)
    return [
        Figure(
            f"1 of {ENDPOINTS} endpoints hangs, {RATE:,.0f} deliveries/s: due → received at the others",
            f"{_described(disturbed)} (median of {ROUNDS} stretches)",
            "p99 ≤ 1.10 times that without",
            ratio <= 1.1,
            f"{_described(calm)} without it",
            ratio,
        )
    ]


def _described(stretches: list[list[float]]) -> str:
    p50, p99 = (1e3 * statistics.median(percentile(one, part) for one in stretches) for part in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _phases(
    connection: psycopg.Connection[Any], sink: Sink, good: list[Integration], hung: list[Integration], seconds: float
) -> list[tuple[Phase, Phase]]:
    """Pairs of stretches without and with an endpoint that hangs, a new one each time."""
    phases = []
    Phase(connection, good, 2 * seconds)  # the first moments of a process are its slowest
    for number, one in enumerate(hung, start=1):
        say(f"hanging: round {number} of {len(hung)}")
        calm = Phase(connection, good, seconds)
        disturbed = Phase(connection, [*good[:-1], one], seconds)
        phases.append((calm, disturbed))
        connection.execute(_NO_MORE, (one[1],))
        sink.drop()
        time.sleep(1.0)
        connection.execute(_NO_MORE, (one[1],))
        emptied(connection, 60.0, all_of_it=False)
    return phases


def _delays(
    connection: psycopg.Connection[Any], notes: Path, phase: Phase, integrations: list[Integration]
) -> list[float]:
    """From due to received (s), of what was made for these integrations in a phase."""
    received: dict[str, int] = {}
    for line in notes.read_text().splitlines():
        at_us, key = line.split()
        received.setdefault(key, int(at_us))
    ids = [integration_id for _, integration_id in integrations]
    rows = connection.execute(_DUE, (phase.began, phase.ended, ids))
    return [(received[delivery_id] - due_us) / 1e6 for delivery_id, due_us in rows]
