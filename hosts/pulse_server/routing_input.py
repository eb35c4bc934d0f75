"""Routes as people write and read them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pulse_core.records import Route

if TYPE_CHECKING:
    from pulse_server.inputs import RouteBody


def route_of(wanted: RouteBody) -> Route:
    """The record of a checked body."""
    return Route(
        tenant_id=wanted.tenant_id,
        route_id=uuid.uuid4(),
        integration_id=wanted.integration_id,
        name=wanted.name,
        alert_types=frozenset(wanted.alert_types),
        severities=frozenset(wanted.severities),
        min_severity=wanted.min_severity,
        site_ids=frozenset(wanted.site_ids),
        device_prefixes=tuple(dict.fromkeys(wanted.device_prefixes)),
        deliver_on=frozenset(wanted.deliver_on),
        priority=wanted.priority,
        enabled=wanted.enabled,
    )
