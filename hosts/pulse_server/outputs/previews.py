"""What a route would have sent."""

from __future__ import annotations

import uuid
from datetime import datetime

from pulse_core.records import AlertEvent
from pulse_server.outputs.answers import Answer


class PreviewedChange(Answer):
    """A change of an alert that it would have told of."""

    alert_id: uuid.UUID
    device_id: str
    site_id: str
    alert_type: str
    severity: int
    event: AlertEvent
    summary: str
    changed_at: datetime


class RoutePreview(Answer):
    """A route asked about the changes of alerts that there were. It is asked as if its integration were enabled."""

    days: int
    """So far back."""
    notifications: int
    """So many it would have sent."""
    by_event: dict[AlertEvent, int]
    changes: int
    """So many changes it was asked about: the newest 10,000 at most."""
    complete: bool
    """False: there were more."""
    newest: list[PreviewedChange]
    """The newest five of those that it would have told of."""
