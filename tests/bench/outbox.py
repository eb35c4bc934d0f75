"""Filling the outbox, and waiting until it is empty."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from support.product import Product

TENANTS = 5
DEVICES = 100
"""Of each tenant: who the alerts are about."""

_FILL = """
    WITH made AS MATERIALIZED (
        SELECT tenant_id, integration_id, gen_random_uuid() AS alert_id, gen_random_uuid() AS delivery_id,
               tenant_id || '-' || lpad((n %% %(devices)s)::text, 6, '0') AS device_id
        FROM generate_series(%(first)s, %(first)s + %(count)s - 1) AS n
        JOIN unnest(%(tenants)s::text[], %(integrations)s::uuid[]) WITH ORDINALITY
            AS i (tenant_id, integration_id, place) ON i.place = n %% %(places)s + 1
    ), opened AS (
        INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity,
                            confidence, summary, opened_at)
        SELECT tenant_id, alert_id, device_id, 's-1', 'NO_HEARTBEAT', alert_id::text, 'OPEN', 4, 0.9, 'silent', now()
        FROM made
    )
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, notification,
                            due_at)
    SELECT tenant_id, delivery_id, integration_id, alert_id, gen_random_uuid(), 'OPEN', 'alert', jsonb_build_object(
               'alert_id', alert_id, 'tenant_id', tenant_id, 'site_id', 's-1', 'device_id', device_id,
               'alert_type', 'NO_HEARTBEAT', 'severity', 4, 'severity_name', 'MAJOR', 'confidence', 0.9,
               'summary', 'No word from ' || device_id || ' for 30 s', 'status', 'OPEN', 'event', 'OPEN',
               'created_at', '2026-09-21T14:13:20Z', 'delivery_id', delivery_id,
               'details', jsonb_build_object('last_seen', '2026-09-21T14:12:50Z', 'threshold_s', 30, 'site', 's-1')),
           clock_timestamp()
    FROM made
"""
_TICK_S = 0.02
_OPEN = "SELECT count(*) FROM deliveries WHERE status IN ('PENDING', 'SENDING', 'RETRYING')"
_RESULT = """
    SELECT count(*) FILTER (WHERE status = 'DELIVERED'), count(*), max(attempts),
           extract(epoch FROM max(finished_at) - min(first_attempt_at))::float8
    FROM deliveries
"""

Integration = tuple[str, str]
"""(tenant_id, integration_id)."""


class Emptied(Struct, frozen=True):
    """What became of an outbox: how many were delivered, and in what time from the first attempt to the last record."""

    delivered: int
    seconds: float

    @property
    def rate(self) -> float:
        """Deliveries a second."""
        return self.delivered / max(0.001, self.seconds)


def integrate(product: Product, kind: str, configs: Sequence[dict[str, Any]]) -> list[Integration]:
    """Make an integration of each configuration, spread over the tenants."""
    made = []
    for number, config in enumerate(configs):
        tenant = f"bench-{number % TENANTS}"
        body = {"tenant_id": tenant, "type": kind, "name": f"{kind} {number}", "config": config}
        made.append((tenant, product.admin("integrations", body)["integration_id"]))
    return made


def fill(
    connection: psycopg.Connection[Any], integrations: Sequence[Integration], count: int, *, first: int = 0
) -> None:
    """Make so many deliveries due, all at once: alerts of their own, in turn for each integration from ``first`` on."""
    values = {
        "devices": DEVICES,
        "first": first,
        "count": count,
        "tenants": [tenant for tenant, _ in integrations],
        "integrations": [integration for _, integration in integrations],
        "places": len(integrations),
    }
    connection.execute(_FILL, values)


def trickle(
    connection: psycopg.Connection[Any], integrations: Sequence[Integration], rate: float, seconds: float
) -> None:
    """Make deliveries due at this rate, some every 20 ms, in turn for each integration."""
    made, began = 0, time.monotonic()
    while (passed_s := time.monotonic() - began) < seconds:
        due = int(passed_s * rate) - made
        if due:
            fill(connection, integrations, due, first=made)
            made += due
        time.sleep(_TICK_S)


def emptied(connection: psycopg.Connection[Any], within_s: float, *, all_of_it: bool = True) -> Emptied:
    """Wait until nothing is open any more. ``all_of_it``: what was not delivered at once is an error."""
    until_sync(lambda: connection.execute(_OPEN).fetchone() == (0,), within_s=within_s, every_s=0.5, what="the outbox")
    row = connection.execute(_RESULT).fetchone()
    assert row is not None
    delivered, total, attempts, seconds = row
    assert not all_of_it or (delivered, attempts) == (total, 1), (
        f"{delivered} of {total} delivered, {attempts} attempts at most"
    )
    return Emptied(delivered, seconds)


def clear(connection: psycopg.Connection[Any]) -> None:
    """Forget every delivery and alert."""
    connection.execute("TRUNCATE deliveries, delivery_attempts, alerts CASCADE")
    time.sleep(0.5)
