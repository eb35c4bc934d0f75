"""Integrations, their health, their routes, and the channels that they can be of."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import Field

from pulse_core.records import AlertEvent, Severity
from pulse_server.inputs.fields import AlertType, ChannelType, DeviceId, SiteId, TenantId
from pulse_server.outputs.answers import Answer, PageOf, Time, Versioned


class ChannelKind(Answer):
    """A kind of integration that is installed."""

    name: ChannelType
    summary: str
    config_schema: dict[str, Any] = Field(alias="schema")
    """The JSON Schema of an integration's ``config``."""


class ChannelKinds(Answer):
    """Every installed channel."""

    items: list[ChannelKind]
    next: None
    """There is but one part."""


class Retry(Answer):
    """An integration's own retry schedule."""

    waits_s: list[float]
    every_s: float
    give_up_s: float


class Integration(Versioned):
    """A configured channel."""

    tenant_id: TenantId
    integration_id: uuid.UUID
    type: ChannelType
    name: str
    enabled: bool
    disabled_reason: str | None
    config: dict[str, Any]
    """By the channel's own model (see ``/customer/channel-types``); a secret that is set reads ``********``."""
    has_secrets: bool
    retry: Retry | None
    """Null: the platform's schedule."""
    created_at: Time
    updated_at: Time


IntegrationList = PageOf[Integration]


class Failure(Answer):
    """When something failed last, and how."""

    at: Time
    detail: str


class Queue(Answer):
    """What waits to be delivered."""

    waiting: int = Field(ge=0)
    oldest_due_at: Time | None


class Breaker(Answer):
    """Whether the endpoint is left alone for a while (OPEN)."""

    state: Literal["CLOSED", "OPEN"]
    since: Time | None = None
    next_probe_at: Time | None = None
    failures: int | None = None
    last_error: str | None = None


class Health(Answer):
    """How an integration is doing."""

    last_success_at: Time | None
    last_failure: Failure | None
    attempts_24h: int = Field(ge=0)
    failure_rate_24h: float | None = Field(ge=0, le=1)
    """Null without attempts."""
    queue: Queue
    breaker: Breaker


class HealthyIntegration(Integration):
    """A configured channel and how it is doing."""

    health: Health


HealthyIntegrationList = PageOf[HealthyIntegration]


class Route(Versioned):
    """Which alerts go to which integration. An empty list matches all."""

    tenant_id: TenantId
    route_id: uuid.UUID
    integration_id: uuid.UUID
    name: str
    alert_types: list[AlertType]
    severities: list[Severity]
    min_severity: Severity | None
    site_ids: list[SiteId]
    device_prefixes: list[DeviceId]
    deliver_on: list[AlertEvent]
    priority: int
    enabled: bool
    fallback_integration_id: uuid.UUID | None
    fallback_after_s: int


RouteList = PageOf[Route]
