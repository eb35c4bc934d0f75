"""What happened: alerts, deliveries, refusals, the audit log."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from pulse_core.records import Cause, Reason
from pulse_postgres.audit_pages import AUDIT_ORDERS
from pulse_postgres.delivery.pages import DELIVERY_ORDERS
from pulse_postgres.incidents import ALERT_ORDERS
from pulse_postgres.refusals import KEPT_ORDERS, REFUSED_ORDERS
from pulse_server.inputs.fields import (
    AlertType,
    Body,
    DeviceId,
    Moment,
    OneOf,
    Page,
    QuerySeverity,
    SiteId,
    TenantPage,
    Text,
)


class ReplayBody(Body):
    """Which deliveries to make again. Those replayed before are left out, and those that cannot be delivered."""

    status: Literal["DEAD", "CANCELLED", "DELIVERED"] | None = "DEAD"
    """Null: any of these."""
    delivery_ids: list[uuid.UUID] | None = Field(None, min_length=1, max_length=1000)
    """Of these alone."""
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: Cause | None = None
    created_from: Moment | None = None
    created_before: Moment | None = None
    dry_run: bool = True
    """Only count them."""
    count: int | None = Field(None, ge=0)
    """As many as a dry run counted: if it is another number by now, nothing is done."""


class NoteBody(Body):
    """What somebody who acknowledges or closes an alert wants to say."""

    note: Annotated[str, StringConstraints(max_length=1000)] = ""
    """It stands with the change, and in the audit log."""


class AlertsBody(NoteBody):
    """Several alerts that somebody acknowledges or closes at once."""

    alert_ids: list[uuid.UUID] = Field(min_length=1, max_length=200)


class AlertPage(Page):
    """Which alerts, in which order."""

    device_id: DeviceId | None = None
    site_id: SiteId | None = None
    alert_type: AlertType | None = None
    status: Literal["OPEN", "ACKNOWLEDGED", "CLOSED"] | None = None
    severity: QuerySeverity | None = None
    """A name or a number."""
    min_severity: QuerySeverity | None = None
    """That one or worse."""
    opened_from: Moment | None = None
    """Opened then or later."""
    opened_before: Moment | None = None
    sort: Annotated[str, OneOf(ALERT_ORDERS.names)] = ALERT_ORDERS.default


class AlertQuery(AlertPage, TenantPage):
    """Which alerts."""


class DeliveryPart(Page):
    """Deliveries, in which order."""

    sort: Annotated[str, OneOf(DELIVERY_ORDERS.names)] = DELIVERY_ORDERS.default


class DeliveryPage(DeliveryPart):
    """Which deliveries, in which order."""

    status: Literal["PENDING", "SENDING", "DELIVERED", "RETRYING", "DEAD", "CANCELLED"] | None = None
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: Cause | None = None
    created_from: Moment | None = None
    """Made then or later."""
    created_before: Moment | None = None


class DeliveryQuery(DeliveryPage, TenantPage):
    """Which deliveries."""


class RefusedQuery(TenantPage):
    """Which refused messages."""

    reason: Reason | None = None
    since: Moment | None = Field(None, alias="from")
    """Received then or later."""
    before: Moment | None = None


class QuarantineQuery(RefusedQuery):
    """Which refused messages that were kept, in which order."""

    device_id: DeviceId | None = None
    sort: Annotated[str, OneOf(KEPT_ORDERS.names)] = KEPT_ORDERS.default


class CountsQuery(RefusedQuery):
    """Which counts of refused messages, in which order."""

    sort: Annotated[str, OneOf(REFUSED_ORDERS.names)] = REFUSED_ORDERS.default


class AuditPage(Page):
    """Which lines of the audit log, in which order."""

    actor: Text | None = None
    action: Text | None = None
    resource: Text | None = Field(None, min_length=1)
    """What the line's begins with, as ``tenant-a/dev-1``."""
    since: Moment | None = Field(None, alias="from")
    """Written then or later."""
    before: Moment | None = None
    sort: Annotated[str, OneOf(AUDIT_ORDERS.names)] = AUDIT_ORDERS.default


class AuditQuery(AuditPage, TenantPage):
    """Which lines of the audit log."""
