"""Two tenants with one row each in every table, and one row of nobody's where that exists."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.database import Database

TENANTS = ("tenant-a", "tenant-b")
DAY = "2026-01-02"

_FOR_EACH = """
INSERT INTO tenants VALUES (%(t)s);
INSERT INTO devices (tenant_id, device_id, site_id, token_hash, labels)
    VALUES (%(t)s, 'd', 's', %(hash)s, '{"label": "value"}');
INSERT INTO activation_codes (tenant_id, device_id, code_hash, expires_at) VALUES (%(t)s, 'd', %(hash)s, now());
INSERT INTO device_state (tenant_id, device_id, status, status_since) VALUES (%(t)s, 'd', 'ONLINE', now());
INSERT INTO device_commands (tenant_id, device_id, command_id, name, payload, created_by, expires_at, number)
    VALUES (%(t)s, 'd', %(id)s, 'reboot', '{}', 'test', now() + interval '1 hour', 1);
INSERT INTO device_connections (tenant_id, device_id, connection_id, source, connected_at)
    VALUES (%(t)s, 'd', %(id)s, 'mqtt', now());
INSERT INTO device_sessions (tenant_id, device_id, client_id, expiry_s, updated_at)
    VALUES (%(t)s, 'd', 'c', 3600, now());
INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, metrics)
    VALUES (%(t)s, 'd', %(day)s, 1, now(), 'telemetry', 's', '{}');
INSERT INTO telemetry_marks (tenant_id, device_id, hour) VALUES (%(t)s, 'd', %(day)s);
INSERT INTO telemetry_hours (tenant_id, device_id, hour, readings, metrics, numbers)
    VALUES (%(t)s, 'd', %(day)s, 3, '{}', '');
INSERT INTO metric_catalogue (tenant_id, name, unit, updated_by) VALUES (%(t)s, 'd', 'of ' || %(t)s, 'test');
INSERT INTO accepted_counts VALUES (%(t)s, now(), 0, 1);
INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
    summary, opened_at) VALUES (%(t)s, %(id)s, 'd', 's', 'NO_HEARTBEAT', 'f', 'OPEN', 4, 0.9, '', now());
INSERT INTO alert_changes (tenant_id, alert_id, event, changed_at) VALUES (%(t)s, %(id)s, 'OPEN', now());
INSERT INTO integrations (tenant_id, integration_id, type, name, config) VALUES (%(t)s, %(id)s, 'webhook', 'w', '{}');
INSERT INTO integration_routes (tenant_id, route_id, integration_id) VALUES (%(t)s, %(id)s, %(id)s);
INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, notification, due_at)
    VALUES (%(t)s, %(id)s, %(id)s, 'OPEN', 'test', '{}', now());
INSERT INTO delivery_attempts (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome)
    VALUES (%(t)s, %(id)s, 1, now(), 1, 'DELIVERED');
INSERT INTO breakers (tenant_id, integration_id, opened_at, probe_at, failures) VALUES (%(t)s, %(id)s, now(), now(), 5);
INSERT INTO api_tokens (tenant_id, token_id, name, role, token_hash, created_by, expires_at)
    VALUES (%(t)s, %(id)s, 'n', 'customer_viewer', %(hash)s, 'test', now());
INSERT INTO users (tenant_id, user_id, username, role, password_hash, created_by)
    VALUES (%(t)s, %(id)s, 'user-of-' || %(t)s, 'customer_viewer', 'h', 'test');
INSERT INTO sessions (tenant_id, session_id, user_id, expires_at) VALUES (%(t)s, %(id)s, %(id)s, now());
INSERT INTO telemetry_exports (tenant_id, export_id, format, ends_at, status, bytes, pieces, created_by, finished_at,
    expires_at) VALUES (%(t)s, %(id)s, 'csv', '2030-01-01', 'DONE', 8, 1, 'test', now(), now() + interval '1 hour');
INSERT INTO telemetry_export_pieces VALUES (%(t)s, %(id)s, 0, %(piece)s);
INSERT INTO request_keys (tenant_id, subject, key, request) VALUES (%(t)s, 'token:n', 'k', '');
INSERT INTO readers (tenant_id, name, login)
    VALUES (%(t)s, 'grafana', CASE %(t)s WHEN 'tenant-a' THEN 'pulse_reader' ELSE 'reader_of_' || %(t)s END);
INSERT INTO refresh_tokens (tenant_id, session_id, token_hash) VALUES (%(t)s, %(id)s, %(hash)s);
INSERT INTO browser_sessions (tenant_id, session_id, id_hash, provider, subject, role, tokens, expires_at, tokens_until,
    renew_at) VALUES (%(t)s, %(id)s, %(hash)s, 'accounts', 'user:u', 'customer_viewer', '', now(), now(), now());
"""
_FOR_NOBODY_TOO = """
INSERT INTO quarantine_counts VALUES (%(t)s, now(), 'BAD_TOPIC_FORMAT', 0, 1);
INSERT INTO quarantine (tenant_id, reject_id, received_at, reason) VALUES (%(t)s, %(id)s, now(), 'BAD_TOPIC_FORMAT');
INSERT INTO audit_log (tenant_id, actor, action) VALUES (%(t)s, 'test', 'test');
"""


def an_id(tenant_id: str) -> UUID:
    """The id of a tenant's alert, integration, route, delivery and reject."""
    return uuid5(UUID(int=0), tenant_id)


def fill(database: Database) -> None:
    """Put the rows there, as the superuser, whom no policy binds."""
    with psycopg.connect(database.url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        fill_by(connection)


def fill_by(connection: psycopg.Connection[Any], tenant_ids: Iterable[str] = (*TENANTS, "")) -> None:
    """As :func:`fill`, over a superuser's connection that puts the values in by itself (``ClientCursor``)."""
    connection.execute("SELECT ensure_telemetry_day(%s), ensure_telemetry_hours(%s)", (DAY, DAY))
    for tenant_id in tenant_ids:
        values: dict[str, Any] = {
            "t": tenant_id,
            "id": an_id(tenant_id),
            "day": DAY,
            "hash": tenant_id.ljust(32, "x").encode(),
        }
        values["piece"] = zlib.compress(tenant_id.encode())
        connection.execute(((_FOR_EACH if tenant_id else "") + _FOR_NOBODY_TOO).encode(), values)
