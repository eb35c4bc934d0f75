"""A ledger written by hand: alerts, deliveries and attempts as the superuser puts them there."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.database import Database

FINISHED = {"DELIVERED", "DEAD", "CANCELLED"}


def an_alert(
    database: Database,
    tenant_id: str = "tenant-a",
    *,
    status: str = "CLOSED",
    decisions: dict[str, list[Any]] | None = None,
) -> Any:
    """An alert of dev-1, with a change for each event of ``decisions``."""
    alert_id = uuid.uuid4()
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%s, 'dev-1', 'site-1') ON CONFLICT DO NOTHING",
            (tenant_id,),
        )
        hand.execute(
            "INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity,"
            " confidence, summary, opened_at) VALUES (%s, %s, 'dev-1', 'site-1', 'NO_HEARTBEAT', %s, %s, 4, 0.9,"
            " 'silent', now())",
            (tenant_id, alert_id, str(alert_id), status),
        )
        for event, decided in (decisions or {}).items():
            hand.execute(
                "INSERT INTO alert_changes (tenant_id, alert_id, event, changed_at, decisions)"
                " VALUES (%s, %s, %s, clock_timestamp(), %s)",
                (tenant_id, alert_id, event, json.dumps(decided, default=str)),
            )
    return alert_id


def a_delivery(
    database: Database, integration_id: uuid.UUID, status: str = "DELIVERED", tenant_id: str = "tenant-a", **more: Any
) -> uuid.UUID:
    """A delivery; ``more`` are columns. Without an alert of its own it gets a route of its own."""
    delivery_id = uuid.uuid4()
    row = {
        "tenant_id": tenant_id,
        "delivery_id": delivery_id,
        "integration_id": integration_id,
        "event": "OPEN",
        "cause": "alert",
        "status": status,
        "route_id": uuid.uuid4(),
        "notification": json.dumps({"device_id": "dev-1", "delivery_id": str(delivery_id), "summary": "silent"}),
        **more,
    }
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    finished = "now()" if status in FINISHED else "NULL"
    with database.superuser() as hand:
        hand.execute(
            f"INSERT INTO deliveries ({names}, due_at, finished_at) VALUES ({values}, now(), {finished})".encode(), row
        )
    return delivery_id


def an_attempt(
    database: Database, delivery_id: uuid.UUID, number: int = 1, outcome: str = "DELIVERED", **more: Any
) -> None:
    """An attempt of a delivery that is there; ``more`` are columns."""
    row = {"attempt": number, "outcome": outcome, "duration_ms": 12, "delivery_id": delivery_id, **more}
    with database.superuser() as hand:
        hand.execute(
            f"INSERT INTO delivery_attempts (tenant_id, started_at, {', '.join(row)})"
            f" SELECT tenant_id, clock_timestamp(), {', '.join(f'%({name})s' for name in row)}"
            " FROM deliveries WHERE delivery_id = %(delivery_id)s".encode(),
            row,
        )
