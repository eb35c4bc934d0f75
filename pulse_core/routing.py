"""Who is told: which routes match an alert change, and the deliveries that follow. Pure."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pulse_core.records import (
    AlertChange,
    AlertEvent,
    AlertStatus,
    Cause,
    Decision,
    Delivery,
    Notification,
    Route,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATUS = {
    AlertEvent.OPEN: AlertStatus.OPEN,
    AlertEvent.ACKNOWLEDGED: AlertStatus.ACKNOWLEDGED,
    AlertEvent.CLOSED: AlertStatus.CLOSED,
}


def decide(route: Route, change: AlertChange) -> Decision:
    """Does this route fire on this change? If not, ``failed`` names the first condition that did not hold.

    A route to a disabled integration fires all the same if it has a fallback: that one will be told instead.
    """
    alert, device = change.alert, change.device
    failed = None
    if not route.enabled:
        failed = "enabled"
    elif not route.integration_enabled and route.fallback_integration_id is None:
        failed = "integration_enabled"
    elif change.event not in route.deliver_on:
        failed = "deliver_on"
    elif route.alert_types and alert.alert_type not in route.alert_types:
        failed = "alert_types"
    elif route.severities and alert.severity not in route.severities:
        failed = "severities"
    elif route.min_severity is not None and alert.severity < route.min_severity:
        failed = "min_severity"
    elif route.site_ids and alert.site_id not in route.site_ids:
        failed = "site_ids"
    elif route.device_prefixes and not device.device_id.startswith(route.device_prefixes):
        failed = "device_prefixes"
    return Decision(route.route_id, failed is None, failed, route.integration_id, route.name)


def route(routes: Sequence[Route], change: AlertChange) -> tuple[tuple[Decision, ...], list[Delivery]]:
    """Ask every route of the tenant; make one primary delivery for each that matches, in order of priority."""
    ordered = sorted(routes, key=lambda one: (one.priority, str(one.route_id)))
    decisions = tuple(decide(one, change) for one in ordered)
    matched = (one for one, decision in zip(ordered, decisions, strict=True) if decision.matched)
    return decisions, [_primary_delivery(one, change) for one in matched]


def _primary_delivery(matched: Route, change: AlertChange) -> Delivery:
    delivery_id = uuid.uuid4()
    return Delivery(
        tenant_id=change.device.tenant_id,
        delivery_id=delivery_id,
        integration_id=matched.integration_id,
        cause=Cause.ALERT,
        event=change.event,
        alert_id=change.alert.alert_id,
        route_id=matched.route_id,
        notification=notification(change, delivery_id),
        due_us=change.at_us,
    )


def notification(change: AlertChange, delivery_id: uuid.UUID) -> Notification:
    """What a receiver is told of an alert change."""
    alert = change.alert
    return Notification(
        alert_id=str(alert.alert_id),
        tenant_id=change.device.tenant_id,
        site_id=alert.site_id,
        device_id=change.device.device_id,
        alert_type=alert.alert_type,
        severity=int(alert.severity),
        severity_name=Severity(alert.severity).name,
        confidence=alert.confidence,
        summary=alert.summary,
        status=_STATUS[change.event],
        event=change.event,
        created_at=_iso(alert.opened_us),
        closed_at=_iso(change.at_us) if change.event is AlertEvent.CLOSED else None,
        details=alert.details,
        delivery_id=str(delivery_id),
    )


def _iso(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us // 1_000_000, UTC).replace(microsecond=moment_us % 1_000_000).isoformat()
