"""Routes as people write and read them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pulse_core.records import Route

if TYPE_CHECKING:
    from pulse_server.inputs import RouteFields


def route_of(wanted: RouteFields, tenant_id: str, route_id: uuid.UUID | None = None) -> Route:
    """The record of a checked body; a new one unless it has an id."""
    return Route(
        tenant_id=tenant_id,
        route_id=route_id or uuid.uuid4(),
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
        fallback_integration_id=wanted.fallback_integration_id,
        fallback_after_s=wanted.fallback_after_s,
    )
