"""Alerts, and why somebody was, or was not, told."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import Field

from pulse_core.records import AlertEvent, AlertStatus, Severity
from pulse_postgres.alert_requests import Outcome
from pulse_server.inputs.fields import AlertType, DeviceId, SeverityName, SiteId, TenantId
from pulse_server.outputs.answers import Answer, PageOf, Time
from pulse_server.outputs.deliveries import Delivery


class Alert(Answer):
    """An alert."""

    tenant_id: TenantId
    alert_id: uuid.UUID
    device_id: DeviceId
    site_id: SiteId
    alert_type: AlertType
    status: AlertStatus
    severity: Severity
    severity_name: SeverityName
    confidence: float = Field(ge=0, le=1)
    summary: str
    details: dict[str, Any]
    """What the evaluator has to say about it."""
    opened_at: Time
    acknowledged_at: Time | None
    closed_at: Time | None


AlertList = PageOf[Alert]


class RouteDecision(Answer):
    """What one route decided about a change. Its integration and name are those it had then."""

    route_id: uuid.UUID
    matched: bool
    failed: str | None
    """The condition that did not hold."""
    integration_id: uuid.UUID | None = None
    name: str = ""


class AlertChange(Answer):
    """One step in an alert's life."""

    event: AlertEvent
    changed_at: Time
    decisions: list[RouteDecision]
    actor: str
    """Who did it, as ``user:ada``; empty: the platform."""
    note: str
    """What they said."""


class AlertWithChanges(Alert):
    """An alert and how it came to what it is."""

    changes: list[AlertChange]


class AlertOutcome(Answer):
    """What became of one of several alerts."""

    alert_id: uuid.UUID
    outcome: Outcome
    """Other than DONE: nothing was changed of it."""


class AlertOutcomes(Answer):
    """What became of several alerts."""

    results: list[AlertOutcome]
    """One for each id, in the order in which they came."""


class TracedDelivery(Delivery):
    """A delivery and what it caused: its fallback, its replays."""

    caused: list[TracedDelivery]


class IntegrationThen(Answer):
    """An integration that is, or was, there."""

    integration_id: uuid.UUID
    name: str
    type: str
    deleted: bool


class TracedRoute(Answer):
    """What one route decided, why, and what became of it."""

    route_id: uuid.UUID
    name: str
    integration: IntegrationThen | None
    matched: bool
    failed: str | None
    why: str
    """The decision as a sentence."""
    deliveries: list[TracedDelivery]


class TracedChange(Answer):
    """One step in an alert's life, and every route's decision."""

    event: AlertEvent
    changed_at: Time
    actor: str
    """Who did it, as ``user:ada``; empty: the platform."""
    note: str
    """What they said."""
    routes: list[TracedRoute]


class AlertTrace(Answer):
    """For each change of an alert: what every route decided and why, and what became of what was sent."""

    alert: Alert
    changes: list[TracedChange]
    others: list[TracedDelivery]
    """Deliveries that no decision made."""
