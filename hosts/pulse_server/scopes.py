"""What an API token may be narrowed to: areas of the API, each a few paths.

A role says what may be done, reading or writing too; a scope, where. Both must hold.
"""

from __future__ import annotations

AREAS: dict[str, frozenset[str]] = {
    "access": frozenset({"users", "api-tokens", "audit-log"}),
    "alerts": frozenset({"alerts"}),
    "deliveries": frozenset({"deliveries", "delivery-status"}),
    "devices": frozenset({"devices", "commands", "metrics", "telemetry", "customer/settings"}),
    "integrations": frozenset({"integrations", "integration-routes", "channel-types"}),
    "overview": frozenset({"dashboard", "events", "ledger"}),
    "platform": frozenset({"operator/settings", "plugins", "quarantine"}),
    "tenants": frozenset({"tenants"}),
}
"""The first segments after ``/customer`` or ``/operator`` that each holds, or after one of them alone: it says which.

What stands in none, no scope opens."""


def opens(scopes: frozenset[str] | None, rule: str) -> bool:
    """Whether a token with these scopes may call a route; None: it was not narrowed.

    :param rule: the route's pattern, as ``/customer/devices/<device_id>``.
    """
    if scopes is None:
        return True
    side, segment = [*rule.split("/"), "", ""][1:3]
    return any(not AREAS.get(scope, frozenset()).isdisjoint((segment, f"{side}/{segment}")) for scope in scopes)
