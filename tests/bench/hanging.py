"""What one endpoint that never answers costs the others."""

from __future__ import annotations

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
    from support.product import Product

ENDPOINTS = 100
RATE = 500.0
"""Deliveries a second, to all endpoints together."""
_ROUNDS = 2
_DUE = """
    SELECT d.delivery_id::text, (extract(epoch FROM d.due_at) * 1e6)::bigint FROM deliveries d
    WHERE d.created_at >= %s AND d.created_at < %s AND NOT d.integration_id = ANY(%s::uuid[])
"""
_GIVE_UP = """
    UPDATE deliveries SET status = 'CANCELLED', finished_at = now(), leased_by = NULL, lease_until = NULL
    WHERE integration_id = %s::uuid AND status IN ('PENDING', 'RETRYING', 'SENDING')
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
    seconds = 40.0 if bench.full else 12.0
    spec = SinkSpec("webhook", ENDPOINTS + 1, silent=1, notes=str(notes / "webhooks"))
    with bench.product(*FLEETS) as (product, _), Sink(bench.fresh_folder(), spec) as sink:
        hung, *good = integrate(product, "webhook", [webhook_config(port) for port in sink.ports])
        calm, disturbed = _phases(product, good, hung, seconds)
        ends = (good[-1][1], hung[1])
        before = _delays(product, notes / "webhooks", calm, ends)
        during = _delays(product, notes / "webhooks", disturbed, ends)
    p99 = [1e3 * percentile(delays, 0.99) for delays in (before, during)]
    p50 = [1e3 * percentile(delays, 0.5) for delays in (before, during)]
    return [
        Figure(
            f"1 of {ENDPOINTS} endpoints hangs, {RATE:,.0f} deliveries/s: due → received at the others",
            f"p50 {p50[1]:.1f} ms, p99 {p99[1]:.1f} ms ({len(during):,} deliveries)",
            "p99 ≤ 1.10 times that without",
            p99[1] <= 1.1 * p99[0],
            f"p50 {p50[0]:.1f} ms, p99 {p99[0]:.1f} ms without it",
            p99[1] / p99[0],
        )
    ]


def _phases(
    product: Product, good: list[Integration], hung: Integration, seconds: float
) -> tuple[list[Phase], list[Phase]]:
    """Stretches without and with it in turn, so that a machine that grows busier disturbs both alike."""
    calm, disturbed = [], []
    with product.superuser() as connection:
        _warm_up(connection, good)
        for number in range(1, _ROUNDS + 1):
            say(f"hanging: round {number} without it")
            calm.append(Phase(connection, good, seconds))
            say(f"hanging: round {number} with it")
            disturbed.append(Phase(connection, [*good[:-1], hung], seconds))
            _forget(product, connection, hung)
            _warm_up(connection, good)
    return calm, disturbed


def _forget(product: Product, connection: psycopg.Connection[Any], hung: Integration) -> None:
    """Give up what hangs, and start the deliver process afresh: its breaker may be open by now."""
    product.kill("deliver")
    connection.execute(_GIVE_UP, (hung[1],))


def _warm_up(connection: psycopg.Connection[Any], good: list[Integration]) -> None:
    """Deliver for a moment, and wait until all of it has arrived."""
    trickle(connection, good, RATE, 3.0)
    emptied(connection, 60.0, all_of_it=False)


def _delays(product: Product, notes: Path, phases: list[Phase], ends: tuple[str, str]) -> list[float]:
    """From due to received (s), of what was made in these phases, but for the two endpoints that differ."""
    received: dict[str, int] = {}
    for line in notes.read_text().splitlines():
        at_us, key = line.split()
        received.setdefault(key, int(at_us))
    with product.superuser() as connection:
        return [
            (received[delivery_id] - due_us) / 1e6
            for phase in phases
            for delivery_id, due_us in connection.execute(_DUE, (phase.began, phase.ended, list(ends)))
        ]
