"""What an API token may be narrowed to: areas of the API, each a few paths.

A role says what may be done, reading or writing too; a scope, where. Both must hold.
"""

from __future__ import annotations

AREAS: dict[str, frozenset[str]] = {
    "access": frozenset({"users", "api-tokens", "audit-log"}),
    "alerts": frozenset({"alerts"}),
    "deliveries": frozenset({"deliveries", "delivery-status"}),
    "devices": frozenset({"devices", "commands", "metrics", "telemetry"}),
    "integrations": frozenset({"integrations", "integration-routes", "channel-types"}),
    "overview": frozenset({"dashboard", "events", "ledger"}),
    "platform": frozenset({"settings", "plugins", "quarantine"}),
    "tenants": frozenset({"tenants"}),
}
"""The first segments after ``/customer`` or ``/operator`` that each holds. What stands in none, no scope opens."""


def opens(scopes: frozenset[str] | None, rule: str) -> bool:
    """Whether a token with these scopes may call a route; None: it was not narrowed.

    :param rule: the route's pattern, as ``/customer/devices/<device_id>``.
    """
    if scopes is None:
        return True
    segment = [*rule.split("/"), "", ""][2]
    return any(segment in AREAS.get(scope, ()) for scope in scopes)
