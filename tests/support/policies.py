"""Every row-level policy that there is to be, and what it lets each role do: declared here, tried by :mod:`reach`."""

from __future__ import annotations

from typing import NamedTuple

OWNER = "pulse_owner"
BOUND = "(tenant_id = NULLIF(current_setting('app.tenant_id'::text, true), ''::text))"
"""The tenant of the transaction; when none is set, no row."""


class Policy(NamedTuple):
    """As ``pg_policies`` shows it; ``{table}`` stands for the table's name."""

    command: str
    using: str | None
    check: str | None


OWN = Policy("ALL", BOUND, BOUND)
ALL = Policy("ALL", "true", "true")
READ = Policy("SELECT", "true", None)
APPEND = Policy("INSERT", None, "true")
REMOVE = Policy(
    "ALL",
    "((tenant_id <> ''::text) AND (NOT (EXISTS ( SELECT\n   FROM tenants t\n"
    "  WHERE ((t.tenant_id = {table}.tenant_id) AND (t.status = 'ACTIVE'::text))))))",
    None,
)
"""Rows of tenants that are not at work."""
READER = Policy(
    "SELECT", "(tenant_id = ( SELECT r.tenant_id\n   FROM readers r\n  WHERE (r.login = CURRENT_USER)))", None
)
"""Rows of the tenant whose login this is, whatever the transaction says."""
READER_ITSELF = Policy("SELECT", "((login = CURRENT_USER) AND active)", None)

FORGET = Policy(
    "ALL",
    "((tenant_id <> ''::text) AND ((NOT (EXISTS ( SELECT\n   FROM tenants t\n"
    "  WHERE ((t.tenant_id = {table}.tenant_id) AND (t.status = 'ACTIVE'::text))))) OR "
    "(NOT (EXISTS ( SELECT\n   FROM devices d\n"
    "  WHERE ((d.tenant_id = {table}.tenant_id) AND (d.device_id = {table}.device_id) AND (d.revoked_at IS NULL)))))))",
    None,
)
"""Rows of devices that are not at work, also of a tenant that is."""

_SEEN = {"web": (OWN,), "operator": (READ,)}
"""What every table of tenants has: its tenant's people see it, and operators, who are watched."""

POLICIES: dict[str, dict[str, tuple[Policy, ...]]] = {
    "tenants": {**_SEEN, "admin": (ALL,), "auth": (ALL,), "pipeline": (ALL,)},
    "devices": {**_SEEN, "admin": (ALL,), "auth": (ALL,), "pipeline": (ALL,), "reader": (READER,)},
    "activation_codes": {**_SEEN, "admin": (ALL,), "auth": (ALL,)},
    "device_state": {**_SEEN, "admin": (ALL,), "pipeline": (ALL,), "reader": (READER,)},
    "telemetry": {**_SEEN, "admin": (FORGET,), "pipeline": (ALL,), "reader": (READER,)},
    "telemetry_marks": {**_SEEN, "admin": (FORGET,), "pipeline": (ALL,)},
    "telemetry_hours": {**_SEEN, "admin": (FORGET,), "pipeline": (ALL,)},
    "alerts": {**_SEEN, "pipeline": (ALL,), "deliver": (ALL,), "reader": (READER,)},
    "alert_changes": {**_SEEN, "pipeline": (ALL,)},
    "integrations": {**_SEEN, "admin": (ALL,), "pipeline": (ALL,), "deliver": (ALL,)},
    "integration_routes": {**_SEEN, "admin": (ALL,), "pipeline": (ALL,), "deliver": (READ,)},
    "deliveries": {**_SEEN, "admin": (ALL,), "pipeline": (ALL,), "deliver": (ALL,)},
    "delivery_attempts": {**_SEEN, "deliver": (ALL,)},
    "breakers": {**_SEEN, "deliver": (ALL,)},
    "quarantine": {**_SEEN, "admin": (REMOVE,), "pipeline": (ALL,)},
    "quarantine_counts": {**_SEEN, "admin": (REMOVE,), "pipeline": (ALL,)},
    "accepted_counts": {**_SEEN, "admin": (REMOVE,), "pipeline": (ALL,)},
    "device_labels": {**_SEEN, "admin": (ALL,), "reader": (READER,)},
    "metric_catalogue": {**_SEEN, "admin": (ALL,)},
    "device_commands": {**_SEEN, "pipeline": (ALL,)},
    "device_connections": {**_SEEN, "pipeline": (ALL,)},
    "device_sessions": {"pipeline": (ALL,)},
    "readers": {**_SEEN, "admin": (ALL,), "reader": (READER_ITSELF,)},
    "request_keys": {**_SEEN, "admin": (ALL,)},
    "telemetry_exports": {**_SEEN, "admin": (ALL,)},
    "telemetry_export_pieces": {"web": (OWN,)},
    "browser_sessions": {**_SEEN, "admin": (ALL,), "auth": (ALL,)},
    "api_tokens": {**_SEEN, "admin": (ALL,), "auth": (ALL,)},
    "users": {**_SEEN, "admin": (ALL,), "auth": (ALL,)},
    "sessions": {**_SEEN, "admin": (ALL,), "auth": (ALL,)},
    "refresh_tokens": {**_SEEN, "admin": (ALL,), "auth": (ALL,)},
    "signing_keys": {"admin": (ALL,), "auth": (ALL,)},
    "audit_log": {"web": (OWN,), "operator": (READ, APPEND), "admin": (APPEND,), "auth": (APPEND,)},
}


def of_role(table: str, role: str) -> tuple[Policy, ...]:
    """The policies of a login role on a table; none on a day of telemetry, which nobody may touch directly."""
    return POLICIES.get(table, {}).get(role.removeprefix("pulse_"), ())


def expected(table: str, role: str, command: str, rows: frozenset[str], tenant_id: str | None) -> frozenset[str]:
    """The tenants (of those that have ``rows``) whose rows a role reaches.

    :param command: SELECT, INSERT, UPDATE or DELETE.
    :param tenant_id: the tenant of the transaction.
    """
    reached: frozenset[str] = frozenset()
    for policy in of_role(table, role):
        if policy.command in {"ALL", command}:
            reached |= _admitted(policy, rows, tenant_id)
    return reached


def _admitted(policy: Policy, rows: frozenset[str], tenant_id: str | None) -> frozenset[str]:
    if policy is OWN:
        return rows & {tenant_id or "(none)"}
    if policy in {REMOVE, FORGET}:
        return rows & {SUSPENDED}
    if policy in {READER, READER_ITSELF}:
        return rows & {READ_BY}
    return rows


SUSPENDED = "tenant-b"
"""The one of the two tenants that is not at work while policies are tried."""
READ_BY = "tenant-a"
"""The one that pulse_reader reads in the rows of :mod:`support.two_tenants`, as if it were a login itself."""
