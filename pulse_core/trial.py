"""What a test delivery says: an alert that never was. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pulse_core.records import AlertEvent, AlertStatus, Notification, Severity

if TYPE_CHECKING:
    import uuid


def a_test(tenant_id: str, delivery_id: uuid.UUID, who: str, now: datetime | None = None) -> Notification:
    """The notification of a test that ``who`` asked for; its alert has the delivery's id."""
    return Notification(
        alert_id=str(delivery_id),
        tenant_id=tenant_id,
        site_id="test-site",
        device_id="test-device",
        alert_type="TEST",
        severity=int(Severity.INFO),
        severity_name=Severity.INFO.name,
        confidence=1.0,
        summary=f"A test of this integration, asked for by {who}. Nothing is wrong.",
        status=AlertStatus.OPEN,
        event=AlertEvent.OPEN,
        created_at=(now or datetime.now(UTC)).isoformat(),
        delivery_id=str(delivery_id),
    )
