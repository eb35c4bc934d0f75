"""Deliveries with their attempts, and replays."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import Field

from pulse_core.records import AlertEvent, Cause, DeliveryStatus
from pulse_server.inputs.fields import TenantId
from pulse_server.outputs.answers import Answer, PageOf, Time


class Attempt(Answer):
    """One attempt to deliver."""

    attempt: int = Field(ge=1)
    started_at: Time
    duration_ms: int = Field(ge=0)
    outcome: Literal["DELIVERED", "TEMPORARY", "PERMANENT"]
    detail: str
    receipt: str
    """What the receiver gave as proof, if anything."""
    address: str
    """Where the connection went."""
    tls: str
    """The version of TLS; empty: none."""
    next_at: Time | None
    """When the next attempt was planned."""


class NextStep(Answer):
    """What happens to a delivery next."""

    what: str
    at: Time | None = None
    since: Time | None = None
    """Since when its endpoint is left alone."""
    probe_at: Time | None = None
    """When the endpoint is tried again."""


class Delivery(Answer):
    """A promise to notify one integration, and what became of it."""

    tenant_id: TenantId
    delivery_id: uuid.UUID
    integration_id: uuid.UUID
    integration_name: str
    integration_type: str
    alert_id: uuid.UUID | None
    route_id: uuid.UUID | None
    event: AlertEvent
    cause: Cause
    caused_by: uuid.UUID | None
    """The delivery that this one replays or stands in for."""
    status: DeliveryStatus
    device_id: str | None
    created_at: Time
    due_at: Time
    attempt_count: int = Field(ge=0)
    first_attempt_at: Time | None
    finished_at: Time | None
    last_error: str | None
    attempts: list[Attempt]
    next: NextStep | None
    """Null: nothing happens any more."""


DeliveryList = PageOf[Delivery]


class Replayed(Answer):
    """How many deliveries were, or with ``dry_run`` would be, made again."""

    count: int = Field(ge=0)
    dry_run: bool
    first: uuid.UUID | None = None
    """One of the new ones: ``/deliveries/{id}/batch`` tells how far they are."""


class Batch(Answer):
    """Deliveries that were made at once and for the same cause, and how far they are."""

    cause: Cause
    created_at: Time
    count: int = Field(ge=1)
    finished: int = Field(ge=0)
    """So many of them are delivered, given up or cancelled."""
    statuses: dict[DeliveryStatus, int]
