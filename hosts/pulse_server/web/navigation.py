"""Where one can go from every page: by role, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pulse_core.principal import Role


@dataclass(frozen=True)
class Place:
    """A page that the navigation leads to."""

    path: str
    title: str


@dataclass(frozen=True)
class Group:
    """Places that belong together."""

    title: str
    places: tuple[Place, ...]


_FLEET = Group(
    "Fleet",
    (
        Place("/customer/dashboard", "Dashboard"),
        Place("/customer/devices", "Devices"),
        Place("/customer/metrics", "Metrics"),
        Place("/customer/alerts", "Alerts"),
        Place("/customer/telemetry/exports", "Exports"),
    ),
)
_NOTIFYING = Group(
    "Notifications",
    (
        Place("/customer/integrations", "Integrations"),
        Place("/customer/integration-routes", "Routes"),
        Place("/customer/deliveries", "Deliveries"),
    ),
)
_SETTINGS = Place("/customer/settings", "Settings")
_PEOPLE = Group(
    "Administration",
    (
        Place("/customer/users", "Users"),
        Place("/customer/api-tokens", "API tokens"),
        _SETTINGS,
        Place("/customer/audit-log", "Audit log"),
    ),
)
_WATCHING = Group(
    "All tenants",
    (
        Place("/operator/dashboard", "Dashboard"),
        Place("/operator/devices", "Devices"),
        Place("/operator/alerts", "Alerts"),
        Place("/operator/integrations", "Integrations"),
        Place("/operator/deliveries", "Deliveries"),
        Place("/operator/commands", "Commands"),
        Place("/operator/quarantine", "Quarantine"),
    ),
)
_PLATFORM = (Place("/operator/plugins", "Plugins"), Place("/operator/ledger", "Ledger"))
_ADMINISTERING = Group(
    "Administration",
    (
        Place("/operator/tenants", "Tenants"),
        Place("/operator/users", "Users"),
        Place("/operator/api-tokens", "API tokens"),
        Place("/operator/settings", "Settings"),
        Place("/operator/audit-log", "Audit log"),
    ),
)

NAVIGATION: Final = {
    Role.CUSTOMER_VIEWER: (_FLEET, _NOTIFYING, Group("Administration", (_SETTINGS,))),
    Role.CUSTOMER_ADMIN: (_FLEET, _NOTIFYING, _PEOPLE),
    Role.OPERATOR: (_WATCHING, Group("Platform", _PLATFORM)),
    Role.OPERATOR_ADMIN: (_WATCHING, Group("Platform", _PLATFORM), _ADMINISTERING),
}
BEGINS_AT: Final = {role: groups[0].places[0].path for role, groups in NAVIGATION.items()}
"""Where somebody who has logged in begins."""
EVENTS: Final = {role: "/customer/events" if role.of_a_tenant else "/operator/events" for role in Role}
"""What a page listens to."""
