"""What happened: alerts, deliveries, refusals, the audit log."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import (
    Field,
)

from pulse_core.records import Cause, Reason
from pulse_server.inputs.fields import (
    AlertType,
    Body,
    DeviceId,
    Moment,
    Page,
    TenantPage,
    Text,
)


class ReplayBody(Body):
    """Which deliveries to make again. Those replayed before are left out, and those that cannot be delivered."""

    status: Literal["DEAD", "CANCELLED", "DELIVERED"] = "DEAD"
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: Cause | None = None
    created_from: Moment | None = None
    created_before: Moment | None = None
    dry_run: bool = True
    """Only count them."""
    count: int | None = Field(None, ge=0)
    """As many as a dry run counted: if it is another number by now, nothing is done."""


class AlertPage(Page):
    """Which alerts, the newest first."""

    device_id: DeviceId | None = None
    alert_type: AlertType | None = None
    status: Literal["OPEN", "ACKNOWLEDGED", "CLOSED"] | None = None


class AlertQuery(AlertPage, TenantPage):
    """Which alerts."""


class DeliveryPage(Page):
    """Which deliveries, the newest first."""

    status: Literal["PENDING", "SENDING", "DELIVERED", "RETRYING", "DEAD", "CANCELLED"] | None = None
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: Cause | None = None
    created_from: Moment | None = None
    """Made then or later."""
    created_before: Moment | None = None


class DeliveryQuery(DeliveryPage, TenantPage):
    """Which deliveries."""


class QuarantineQuery(TenantPage):
    """Which refused messages, the newest first."""

    reason: Reason | None = None


class AuditPage(Page):
    """Which lines of the audit log, the newest first."""

    actor: Text | None = None
    action: Text | None = None
    since: Moment | None = Field(None, alias="from")
    """Written then or later."""
    before: Moment | None = None


class AuditQuery(AuditPage, TenantPage):
    """Which lines of the audit log."""
