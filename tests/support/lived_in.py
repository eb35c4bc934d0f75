"""A tenant that has been at work for a while: devices of every status, alerts of every kind, deliveries of every end.

Everything follows from numbers, nothing from chance, and all times are told from ``now``: two worlds that are made at
the same time of day look the same.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    from support.database import Database

TENANT, NEIGHBOUR = "tenant-a", "tenant-b"
PLACES = {
    "pump": "pumping-north",
    "valve": "pumping-south",
    "tank": "reservoir-1",
    "meter": "reservoir-2",
    "gate": "weir",
}
EACH = 8
SHOWN = "pump-01"
"""The device with most to show: a day of readings, alerts and commands."""
MEASURED = (SHOWN, "pump-02", "tank-01", "meter-01")
CHANNELS: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://hooks.example.com/on-call?team=water", "headers": {"X-Team": "water"}},
    "email": {"host": "mail.example.com", "from_address": "pulse@example.com", "to": ["duty@example.com"]},
    "snmp": {"host": "192.0.2.7", "port": 162, "version": "2c", "notification": "trap"},
    "mqtt": {"url": "mqtts://broker.example.com", "topic_template": "alerts/{device_id}", "qos": 1},
}
SUMMARIES = {
    "NO_HEARTBEAT": "{device} has been silent for 45 s",
    "PRESSURE_LOW": "Pressure at {device} fell to 1.8 bar",
    "BATTERY_LOW": "Battery of {device} is at 12 %",
    "LEVEL_HIGH": "Level at {device} rose to 96 %",
    "DOOR_OPEN": "Cabinet of {device} has been open for 10 min",
}
REASONS = (
    "TOKEN_INVALID",
    "SITE_MISMATCH_REGISTRY_VS_PAYLOAD",
    "MALFORMED_JSON",
    "RATE_LIMITED",
    "UNREGISTERED_DEVICE",
)
DEEDS = ("user.login", "integration.update", "alert.acknowledge", "route.create", "token.create", "delivery.replay")


class Alert(NamedTuple):
    """One alert, as the others refer to it."""

    alert_id: UUID
    device_id: str
    alert_type: str
    status: str
    severity: int
    opened_at: dt.datetime


def an_id(kind: str, number: int) -> UUID:
    """The id of the so-manieth of a kind."""
    return uuid5(UUID(int=7), f"{kind} {number}")


def fill(database: Database, now: dt.datetime | None = None) -> None:
    """Put the tenant there, or more into it, as the superuser."""
    with database.superuser() as hand:
        fill_by(hand, now or dt.datetime.now(dt.UTC))


def fill_by(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    """As :func:`fill`, over a superuser's connection."""
    _put(hand, "tenants", [{"tenant_id": TENANT}])
    hand.execute("UPDATE tenants SET name = 'Aurora Water' WHERE tenant_id = %s", (TENANT,))
    devices = [f"{kind}-{number:02}" for kind in PLACES for number in range(1, EACH + 1)]
    _devices(hand, devices, now)
    _readings(hand, now)
    _describe(hand)
    _integrations(hand, now)
    alerts = _alerts(devices, now)
    _tell(hand, alerts)
    _deliver(hand, alerts, now)
    _commands(hand, now)
    _people(hand, now)
    _refuse(hand, now)
    _write_down(hand, now)
    _export(hand, now)
    _neighbour(hand, now)


def _devices(hand: psycopg.Connection[Any], devices: Sequence[str], now: dt.datetime) -> None:
    for number, device_id in enumerate(devices):
        kind, _, place = device_id.partition("-")
        revoked = number % 17 == 11
        status = "REVOKED" if revoked else "STALE" if number % 9 == 4 else "ONLINE"
        last_seen = now - dt.timedelta(seconds=120 + 1000 * number if status != "ONLINE" else number)
        labels = {"model": f"{kind[0].upper()}{100 + number % 3}", "floor": str(number % 4)}
        device = {
            "device_id": device_id,
            "site_id": PLACES[kind],
            "name": f"{kind.capitalize()} {place.lstrip('0')}" if number % 3 else "",
            "labels": json.dumps(labels),
            "token_hash": device_id.encode().ljust(32, b".") if number % 13 != 12 else None,
            "revoked_at": last_seen if revoked else None,
            "created_at": now - dt.timedelta(days=90 - number),
        }
        _put(hand, "devices", [device])
        if number % 13 == 12:
            continue  # it never spoke
        state = {
            "device_id": device_id,
            "status": status,
            "status_since": last_seen if status != "ONLINE" else now - dt.timedelta(hours=1 + number),
            "status_until": now + dt.timedelta(days=1),
            "last_seen_at": last_seen,
            "last_ts": last_seen,
            "last_seq": 1000 + number,
            "source": "http" if kind == "meter" else "mqtt",
        }
        _put(hand, "device_state", [state])


def _readings(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    """A day of them, every ten minutes."""
    for days in (0, 1):
        hand.execute("SELECT ensure_telemetry_day(%s)", ((now - dt.timedelta(days=days)).date(),))
    rows = []
    for number, device_id in enumerate(MEASURED):
        for step in range(144):
            at = now - dt.timedelta(minutes=10 * step, seconds=5)
            swing = math.sin((144 - step) / 144 * 4 * math.pi + number)
            metrics = {
                "celsius": round(21 + 6 * swing, 1),
                "pressure_bar": round(4.2 + 0.8 * math.cos(step / 9 + number), 2),
                "battery": 100 - (144 - step) // 6,
                "rssi_dbm": -60 - step % 7,
                "door_open": step % 48 == 3,
                "mode": ("auto", "manual")[step % 36 == 9],
            }
            kind = "event" if metrics["door_open"] else "telemetry"
            reading = {"device_id": device_id, "ts": at, "key_hash": step, "received_at": at, "msg_type": kind}
            site = PLACES[device_id.partition("-")[0]]
            rows.append({**reading, "site_id": site, "seq": 144 - step, "metrics": json.dumps(metrics)})
    _put(hand, "telemetry", rows)
    hand.execute(
        "INSERT INTO readings_accepted (day, shard, accepted)"
        " SELECT (ts AT TIME ZONE 'UTC')::date, 0, count(*) FROM telemetry GROUP BY 1"
        " ON CONFLICT (day, shard) DO UPDATE SET accepted = EXCLUDED.accepted"
    )


def _describe(hand: psycopg.Connection[Any]) -> None:
    """What is said of metrics: one of them is out of its range now, and one was never sent."""
    said: dict[str, dict[str, Any]] = {
        "celsius": {"unit": "°C", "description": "Of the water, at the inlet", "low": -5, "high": 25},
        "pressure_bar": {"unit": "bar", "low": 2},
        "battery": {"unit": "%", "description": "What is left of it", "low": 80, "high": 100},
        "flow": {"unit": "l/s"},
    }
    _put(hand, "metric_catalogue", [{"name": name, "updated_by": "user:grace", **each} for name, each in said.items()])


def _export(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    """A file of readings that is being written, and one that could not be."""
    for number, status in enumerate(("RUNNING", "FAILED")):
        over = status == "FAILED"
        export = {"export_id": an_id("export", number), "format": "csv", "devices": ["pump-1"], "metrics": ["celsius"]}
        export |= {"status": status, "share": 0.4, "readings": 1200, "ends_at": now, "created_by": "user:grace"}
        export |= {"claimed_until": now + dt.timedelta(days=1), "finished_at": now if over else None}
        _put(hand, "telemetry_exports", [{**export, "error": "that takes longer than 5 s" if over else ""}])


def _integrations(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    """One of each channel, a second webhook that was switched off, and routes to them."""
    rows: list[dict[str, Any]] = [
        {"type": type_, "name": f"On call by {type_}", "config": json.dumps(config)}
        for type_, config in CHANNELS.items()
    ]
    gone = {"enabled": False, "disabled_reason": "the endpoint answered 410 Gone"}
    rows.append({"type": "webhook", "name": "Old ticket system", "config": rows[0]["config"], **gone})
    for number, row in enumerate(rows):
        _put(hand, "integrations", [{"integration_id": an_id("integration", number), **row}])
        route = {
            "route_id": an_id("route", number),
            "integration_id": an_id("integration", number),
            "name": ("Everything urgent", "Duty officer", "Control room", "Dashboards", "Tickets")[number],
            "alert_types": [[], ["NO_HEARTBEAT"], [], ["PRESSURE_LOW", "LEVEL_HIGH"], []][number],
            "min_severity": (4, 3, None, None, 2)[number],
            "site_ids": [[], [], ["weir"], [], ["reservoir-1"]][number],
            "deliver_on": ["OPEN", "CLOSED"] if number % 2 else ["OPEN"],
            "priority": 10 * (number + 1),
            "enabled": number != 4,
        }
        _put(hand, "integration_routes", [route])
    breaker = {"integration_id": an_id("integration", 3), "opened_at": now - dt.timedelta(minutes=9), "failures": 6}
    soon = now + dt.timedelta(minutes=1)
    _put(hand, "breakers", [{**breaker, "probe_at": soon, "last_error": "connection refused by broker.example.com"}])


def _alerts(devices: Sequence[str], now: dt.datetime) -> list[Alert]:
    """Each severity in each status, one kind after the other; those of the device shown come first."""
    found = []
    for number in range(30):
        device_id = SHOWN if number < 3 else devices[(number * 7) % len(devices)]
        status = ("OPEN", "ACKNOWLEDGED", "CLOSED")[number % 3]
        opened_at = now - dt.timedelta(minutes=4 + 47 * number)
        type_ = list(SUMMARIES)[(number + 1) % len(SUMMARIES)]
        found.append(Alert(an_id("alert", number), device_id, type_, status, 1 + (number + 3) % 5, opened_at))
    return found


def _tell(hand: psycopg.Connection[Any], alerts: Iterable[Alert]) -> None:
    for number, one in enumerate(alerts):
        acknowledged_at = one.opened_at + dt.timedelta(minutes=1) if one.status != "OPEN" else None
        closed_at = one.opened_at + dt.timedelta(minutes=3) if one.status == "CLOSED" else None
        row = {
            **one._asdict(),
            "site_id": PLACES[one.device_id.partition("-")[0]],
            "fingerprint": f"{one.device_id} {one.alert_type} {number}",
            "confidence": 0.9,
            "summary": SUMMARIES[one.alert_type].format(device=one.device_id),
            "details": json.dumps({"threshold": 2.0, "measured": 1.8, "unit": "bar"}),
            "acknowledged_at": acknowledged_at,
            "closed_at": closed_at,
        }
        _put(hand, "alerts", [row])
        steps = {"OPEN": one.opened_at, "ACKNOWLEDGED": acknowledged_at, "CLOSED": closed_at}
        for event, at in steps.items():
            said = {"actor": "user:grace", "note": "I look at it, the crew is there"} if event == "ACKNOWLEDGED" else {}
            change = {"alert_id": one.alert_id, "event": event, "changed_at": at, "decisions": json.dumps(_decided())}
            _put(hand, "alert_changes", [{**change, **said}] if at else [])


def _decided() -> list[dict[str, Any]]:
    """What each route said to an alert."""
    return [
        {
            "route_id": str(an_id("route", number)),
            "integration_id": str(an_id("integration", number)),
            "name": name,
            "matched": failed is None,
            "failed": failed,
        }
        for number, (name, failed) in enumerate([("Everything urgent", None), ("Duty officer", "alert_types")])
    ]


def _deliver(hand: psycopg.Connection[Any], alerts: Sequence[Alert], now: dt.datetime) -> None:
    """One delivery of each status after the other, and what its attempts met."""
    statuses = ("DELIVERED", "DEAD", "DELIVERED", "RETRYING", "DELIVERED", "PENDING", "CANCELLED", "DELIVERED")
    for number, one in enumerate(alerts):
        status = statuses[number % len(statuses)]
        tried = {"DELIVERED": 1, "DEAD": 3, "RETRYING": 2}.get(status, 0)
        finished = status in {"DELIVERED", "DEAD", "CANCELLED"}
        delivery = {
            "delivery_id": an_id("delivery", number),
            "integration_id": an_id("integration", 1 if status == "DEAD" else number % 4),
            "alert_id": one.alert_id,
            "route_id": an_id("route", number % 4),
            "event": "OPEN",
            "cause": "alert",
            "status": status,
            "notification": json.dumps({"device_id": one.device_id, "alert_type": one.alert_type, "event": "OPEN"}),
            "created_at": one.opened_at,
            "due_at": now + dt.timedelta(minutes=2) if not finished else one.opened_at,
            "attempts": tried,
            "first_attempt_at": one.opened_at if tried else None,
            "finished_at": one.opened_at + dt.timedelta(minutes=2) if finished else None,
            "last_error": "no answer from mail.example.com within 15 s" if status in {"DEAD", "RETRYING"} else None,
        }
        _put(hand, "deliveries", [delivery])
        for attempt in range(1, tried + 1):
            made = {
                "delivery_id": delivery["delivery_id"],
                "attempt": attempt,
                "started_at": one.opened_at + dt.timedelta(seconds=30 * attempt),
                "duration_ms": 40 + 13 * number,
                "outcome": "DELIVERED" if status == "DELIVERED" else "TEMPORARY",
                "detail": "200 OK" if status == "DELIVERED" else "no answer within 15 s",
                "receipt": f"receipt {number}" if status == "DELIVERED" else "",
                "address": "192.0.2.10:443",
                "tls": "TLSv1.3",
            }
            _put(hand, "delivery_attempts", [made])


def _commands(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    for number, status in enumerate(("QUEUED", "SENT", "ACKNOWLEDGED", "EXPIRED", "ACKNOWLEDGED")):
        created_at = now - dt.timedelta(minutes=10 + 30 * number)
        sent = status in {"SENT", "ACKNOWLEDGED"}
        command = {
            "device_id": SHOWN if number < 4 else "valve-01",
            "command_id": an_id("command", number),
            "name": ("reboot", "set_interval", "open_valve", "self_test", "close_valve")[number],
            "payload": json.dumps({"after_s": 5 * number, "why": "maintenance"}),
            "status": status,
            "created_at": created_at,
            "created_by": "user:grace",
            "expires_at": created_at + dt.timedelta(minutes=20 if status == "EXPIRED" else 24 * 60),
            "sent_at": created_at + dt.timedelta(seconds=1) if sent else None,
            "way": "mqtt" if sent else None,
            "acknowledged_at": created_at + dt.timedelta(seconds=2) if status == "ACKNOWLEDGED" else None,
            "number": number + 1,
        }
        _put(hand, "device_commands", [command])
    kept = {"subscriptions": json.dumps({f"tenant/{TENANT}/device/{SHOWN}/cmd/#": 1}), "expiry_s": 86_400}
    _put(hand, "device_sessions", [{"device_id": SHOWN, "client_id": "1", "updated_at": now, **kept}])


def _people(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    for number, name in enumerate(("grace", "linus", "margaret", "dennis")):
        user = {
            "user_id": an_id("user", number),
            "username": name,
            "role": "customer_admin" if number % 2 == 0 else "customer_viewer",
            "email": f"{name}@aurora.example.com",
            "password_hash": "none that fits",
            "created_by": "user:grace",
            "disabled_at": now - dt.timedelta(days=3) if name == "dennis" else None,
            "last_login_at": now - dt.timedelta(hours=number) if number < 3 else None,
            "failed_logins": 4 if name == "linus" else 0,
        }
        token = {
            "token_id": an_id("token", number),
            "name": ("Grafana", "Nightly export", "Ticket system", "A script of last year")[number],
            "role": user["role"],
            "token_hash": name.encode().ljust(32, b"."),
            "created_by": "user:grace",
            "expires_at": now + dt.timedelta(days=90 if number < 3 else -3),
            "revoked_at": now - dt.timedelta(days=1) if number == 2 else None,
            "scopes": ["devices"] if number == 1 else None,
        }
        _put(hand, "users", [user])
        _put(hand, "api_tokens", [token])


def _refuse(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    for number in range(10):
        reason = REASONS[number % len(REASONS)]
        at = now - dt.timedelta(minutes=3 + 7 * number)
        refused = {
            "reject_id": an_id("reject", number),
            "received_at": at,
            "reason": reason,
            "detail": "the token is none of this device's",
            "device_id": f"pump-{number:02}",
            "topic": f"tenant/{TENANT}/device/pump-{number:02}/telemetry",
            "payload": json.dumps({"site_id": "weir", "metrics": {"celsius": 20 + number}}),
            "raw": b'{"site_id": "weir"',
        }
        _put(hand, "quarantine", [refused])
        count = {"minute": at.replace(second=0, microsecond=0), "reason": reason, "shard": 0, "rejected": 3 + number}
        _put(hand, "quarantine_counts", [count])


def _write_down(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    for number in range(18):
        line = {
            "audit_id": an_id("audit", number),
            "at": now - dt.timedelta(minutes=11 * number),
            "actor": ("user:grace", "user:linus", "token:Grafana")[number % 3],
            "action": DEEDS[number % len(DEEDS)],
            "resource": f"integration/{an_id('integration', number % 4)}",
            "address": "192.0.2.30",
            "request_id": f"r-{number:06}",
            "details": json.dumps({"name": "On call by webhook", "fields": ["name", "url"]}),
            "agent": "Mozilla/5.0",
            "written_by": "pulse_web",
        }
        _put(hand, "audit_log", [line])


def _neighbour(hand: psycopg.Connection[Any], now: dt.datetime) -> None:
    """Another tenant, with devices and little else."""
    _put(hand, "tenants", [{"tenant_id": NEIGHBOUR}])
    hand.execute("UPDATE tenants SET name = 'Borealis Cold Storage' WHERE tenant_id = %s", (NEIGHBOUR,))
    for number in range(1, 13):
        device = {"tenant_id": NEIGHBOUR, "device_id": f"freezer-{number:02}"}
        state = {"status": "ONLINE", "status_since": now - dt.timedelta(hours=number), "last_seen_at": now}
        _put(hand, "devices", [{**device, "site_id": "hall-1", "token_hash": bytes([number]) * 32}])
        _put(hand, "device_state", [{**device, **state, "status_until": now + dt.timedelta(days=1)}])


def _put(hand: psycopg.Connection[Any], table: str, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, of the tenant unless they say otherwise; one that is there already stays as it is."""
    for row in rows:
        found = {"tenant_id": TENANT, **row}
        places = ", ".join(f"%({name})s" for name in found)
        hand.execute(f"INSERT INTO {table} ({', '.join(found)}) VALUES ({places}) ON CONFLICT DO NOTHING", found)
