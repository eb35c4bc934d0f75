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

_PREPARE = """
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    SELECT tenant_id, integration_id, gen_random_uuid() AS alert_id, gen_random_uuid() AS delivery_id,
           tenant_id || '-' || lpad((n %% %(devices)s)::text, 6, '0') AS device_id
    FROM generate_series(0, %(count)s - 1) AS n
    JOIN unnest(%(tenants)s::text[], %(integrations)s::uuid[]) WITH ORDINALITY AS i (tenant_id, integration_id, place)
        ON i.place = n %% %(integrations_count)s + 1
"""
_ALERTS = """
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
                        summary, opened_at)
    SELECT tenant_id, alert_id, device_id, 's-1', 'NO_HEARTBEAT', alert_id::text, 'OPEN', 4, 0.9, 'silent', now()
    FROM made
"""
_DELIVERIES = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, notification,
                            due_at)
    SELECT tenant_id, delivery_id, integration_id, alert_id, gen_random_uuid(), 'OPEN', 'alert', jsonb_build_object(
               'alert_id', alert_id, 'tenant_id', tenant_id, 'site_id', 's-1', 'device_id', device_id,
               'alert_type', 'NO_HEARTBEAT', 'severity', 4, 'severity_name', 'MAJOR', 'confidence', 0.9,
               'summary', 'No word from ' || device_id || ' for 30 s', 'status', 'OPEN', 'event', 'OPEN',
               'created_at', '2026-09-21T14:13:20Z', 'delivery_id', delivery_id,
               'details', jsonb_build_object('last_seen', '2026-09-21T14:12:50Z', 'threshold_s', 30, 'site', 's-1')),
           now()
    FROM made
"""
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


def fill(connection: psycopg.Connection[Any], integrations: Sequence[Integration], count: int) -> None:
    """Make so many deliveries due, all in one transaction: alerts of their own, in turn for each integration."""
    values = {
        "devices": DEVICES,
        "count": count,
        "tenants": [tenant for tenant, _ in integrations],
        "integrations": [integration for _, integration in integrations],
        "integrations_count": len(integrations),
    }
    with connection.transaction():
        connection.execute(_PREPARE, values)
        connection.execute(_ALERTS)
        connection.execute(_DELIVERIES)


def emptied(connection: psycopg.Connection[Any], within_s: float) -> Emptied:
    """Wait until nothing is open any more. Whatever is not delivered at the first attempt is an error."""
    until_sync(lambda: connection.execute(_OPEN).fetchone() == (0,), within_s=within_s, every_s=0.5, what="the outbox")
    row = connection.execute(_RESULT).fetchone()
    assert row is not None
    delivered, total, attempts, seconds = row
    assert (delivered, attempts) == (total, 1), f"{delivered} of {total} delivered, {attempts} attempts at most"
    return Emptied(delivered, seconds)


def clear(connection: psycopg.Connection[Any]) -> None:
    """Forget every delivery and alert."""
    connection.execute("TRUNCATE deliveries, delivery_attempts, alerts CASCADE")
    time.sleep(0.5)
