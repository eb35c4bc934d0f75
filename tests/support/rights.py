"""Who may call what: a declared answer for every route of the web application, and the callers to try it with."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from pulse_core.principal import Role
from support.admin import KEY, Admin, Caller
from support.batches import judged
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Quart

    from support.database import Database

OURS, THEIRS = TENANTS
NOBODY = uuid.UUID("00000000-0000-4000-8000-000000000000")
BODIES: dict[str, Any] = {"POST": {}, "PATCH": {"name": "changed"}}

READERS = frozenset({"customer_viewer", "customer_admin"})
WRITERS = frozenset({"customer_admin"})
OPERATORS = frozenset({"operator", "operator_admin"})
OPERATOR_ADMINS = frozenset({"operator_admin"})
KEY_HOLDERS = frozenset({"admin key"})
NOT_FROM_ELSEWHERE: frozenset[str] = frozenset()
"""403 for all: the demo's page, for whoever does not sit at this machine."""
EVERYBODY = None

RIGHTS: dict[str, frozenset[str] | None] = {
    "GET /": NOT_FROM_ELSEWHERE,
    "GET /live/data.json": NOT_FROM_ELSEWHERE,
    "GET /static/<path:filename>": EVERYBODY,
    "GET /assets/<version>/<name>": EVERYBODY,
    "GET /.well-known/jwks.json": EVERYBODY,
    "GET /.well-known/oauth-authorization-server": EVERYBODY,
    "POST /api/auth/token": EVERYBODY,
    "POST /api/auth/refresh": EVERYBODY,
    "POST /api/auth/logout": EVERYBODY,
    "GET /api/auth/status": READERS | OPERATORS,
    "GET /customer/alerts": READERS,
    "GET /customer/alerts/<uuid:alert_id>": READERS,
    "GET /customer/alerts/<uuid:alert_id>/trace": READERS,
    "POST /customer/alerts/<uuid:alert_id>/acknowledge": WRITERS,
    "GET /customer/audit-log": WRITERS,
    "GET /customer/channel-types": READERS,
    "GET /customer/dashboard": READERS,
    "GET /customer/deliveries": READERS,
    "GET /customer/deliveries/<uuid:delivery_id>": READERS,
    "POST /customer/deliveries/<uuid:delivery_id>/cancel": WRITERS,
    "POST /customer/deliveries/<uuid:delivery_id>/replay": WRITERS,
    "POST /customer/deliveries/replay": WRITERS,
    "GET /customer/delivery-status": READERS,
    "GET /customer/devices": READERS,
    "GET /customer/devices/<device_id>": READERS,
    "GET /customer/devices/<device_id>/telemetry": READERS,
    "GET /customer/events": READERS,
    "GET /customer/integration-routes": READERS,
    "POST /customer/integration-routes": WRITERS,
    "POST /customer/integration-routes/preview": WRITERS,
    "GET /customer/integration-routes/<uuid:route_id>": READERS,
    "PATCH /customer/integration-routes/<uuid:route_id>": WRITERS,
    "DELETE /customer/integration-routes/<uuid:route_id>": WRITERS,
    "GET /customer/integrations": READERS,
    "POST /customer/integrations": WRITERS,
    "GET /customer/integrations/<uuid:integration_id>": READERS,
    "PATCH /customer/integrations/<uuid:integration_id>": WRITERS,
    "DELETE /customer/integrations/<uuid:integration_id>": WRITERS,
    "POST /customer/integrations/<uuid:integration_id>/test": WRITERS,
    "GET /customer/integrations/<channel:type_>": READERS,
    "POST /customer/integrations/<channel:type_>": WRITERS,
    "GET /customer/integrations/<channel:type_>/<uuid:integration_id>": READERS,
    "PATCH /customer/integrations/<channel:type_>/<uuid:integration_id>": WRITERS,
    "DELETE /customer/integrations/<channel:type_>/<uuid:integration_id>": WRITERS,
    "POST /customer/integrations/<channel:type_>/<uuid:integration_id>/test": WRITERS,
    "GET /operator/alerts": OPERATORS,
    "GET /operator/audit-log": OPERATOR_ADMINS,
    "GET /operator/dashboard": OPERATORS,
    "GET /operator/deliveries": OPERATORS,
    "GET /operator/devices": OPERATORS,
    "GET /operator/events": OPERATORS,
    "GET /operator/integrations": OPERATORS,
    "GET /operator/ledger": OPERATORS,
    "GET /operator/plugins": OPERATORS,
    "GET /operator/quarantine": OPERATORS,
    "GET /operator/quarantine/counts": OPERATORS,
    "GET /operator/settings": OPERATOR_ADMINS,
    "POST /operator/settings": OPERATOR_ADMINS,
    "GET /operator/tenants": OPERATOR_ADMINS,
    "POST /operator/tenants": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>": OPERATOR_ADMINS,
    "PATCH /operator/tenants/<tenant_id>": OPERATOR_ADMINS,
    "DELETE /operator/tenants/<tenant_id>": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>/devices": OPERATORS,
    "GET /operator/tenants/<tenant_id>/devices/<device_id>": OPERATORS,
    "GET /api/admin/alerts": KEY_HOLDERS,
    "GET /api/admin/deliveries": KEY_HOLDERS,
    "GET /api/admin/devices": KEY_HOLDERS,
    "POST /api/admin/devices": KEY_HOLDERS,
    "POST /api/admin/devices/<device_id>/activate-code": KEY_HOLDERS,
    "GET /api/admin/devices/<tenant_id>/<device_id>": KEY_HOLDERS,
    "POST /api/admin/devices/<tenant_id>/<device_id>/activate-code": KEY_HOLDERS,
    "POST /api/admin/devices/<tenant_id>/<device_id>/revoke": KEY_HOLDERS,
    "POST /api/admin/devices/<tenant_id>/<device_id>/rotate-token": KEY_HOLDERS,
    "GET /api/admin/devices/<tenant_id>/<device_id>/telemetry": KEY_HOLDERS,
    "GET /api/admin/integration-routes": KEY_HOLDERS,
    "POST /api/admin/integration-routes": KEY_HOLDERS,
    "GET /api/admin/integrations": KEY_HOLDERS,
    "POST /api/admin/integrations": KEY_HOLDERS,
    "GET /api/admin/tenants": KEY_HOLDERS,
    "POST /api/admin/tenants": KEY_HOLDERS,
}


class Route(NamedTuple):
    """A method and a pattern of the URL map."""

    method: str
    rule: str

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"

    @property
    def of_one(self) -> bool:
        """Whether it names one object of the caller's tenant."""
        return "<uuid:" in self.rule or "<device_id>" in self.rule

    def path(self, object_id: uuid.UUID | None = None, device_id: str = "d") -> str:
        """A path that fits, for objects of ours unless others are given."""
        path = re.sub(r"<uuid:\w+>", str(object_id or an_id(OURS)), self.rule)
        return (
            path.replace("<channel:type_>", "webhook")
            .replace("<path:filename>", "live.js")
            .replace("<version>/<name>", "0/live.js")
            .replace("<tenant_id>", OURS)
            .replace("<device_id>", device_id)
        )


def routes(app: Quart, prefix: str = "") -> list[Route]:
    """Every route of the application below ``prefix``."""
    return sorted(
        Route(method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(prefix)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


async def ask(caller: Caller, route: Route, path: str | None = None, **more: Any) -> tuple[int, Any, Any]:
    """Call a route with a body that is none of the caller's faults, as far as one can say that of all routes."""
    if path is None:
        path = route.path() + ("?lasts_s=0" if route.rule.endswith("/events") else "")
    return await Caller(caller.client, "", caller.headers).call(route.method, path, BODIES.get(route.method), **more)


async def everyone(admin: Admin, database: Database) -> dict[str, Caller]:
    """A caller for each role and each way of having none; named as in :data:`RIGHTS`."""
    callers = {str(role): await admin.customer(OURS, role) for role in (Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN)}
    callers |= {str(role): await admin.operator(role) for role in (Role.OPERATOR, Role.OPERATOR_ADMIN)}
    for death, statement in _DEATHS.items():
        for role in (Role.CUSTOMER_ADMIN, Role.OPERATOR_ADMIN):
            made = await (admin.customer(OURS, role) if role.of_a_tenant else admin.operator(role))
            callers[f"{death} {role}"] = made
            judged(database, f"{statement} WHERE created_at = (SELECT max(created_at) FROM api_tokens) RETURNING true")
    return callers | {
        "admin key": _with(admin, {"X-Admin-Key": KEY}),
        "another key": _with(admin, {"X-Admin-Key": f"{KEY}x"}),
        "nobody": _with(admin, {}),
        "garbage": _with(admin, {"Authorization": "Bearer pulse_" + "A" * 43}),
    }


_DEATHS = {
    "expired": "UPDATE api_tokens SET expires_at = now()",
    "revoked": "UPDATE api_tokens SET revoked_at = now()",
}


_ROLES = frozenset(map(str, Role))


def expected(route: Route, caller: str) -> set[int]:
    """The statuses that refuse this caller; none when it is to be let in."""
    wanted = RIGHTS[str(route)]
    if wanted is EVERYBODY or caller in wanted:
        return set()
    if wanted is NOT_FROM_ELSEWHERE:
        return {403}
    return {403} if wanted is not KEY_HOLDERS and caller in _ROLES else {401}


def snapshot(database: Database, tables: Iterable[str], where: str = "true") -> dict[str, Any]:
    """What stands in some tables, but for when tokens were used."""
    return {
        table: judged(database, f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t WHERE {where} ORDER BY 1")
        for table in tables
    }


def _with(admin: Admin, headers: dict[str, str]) -> Caller:
    return Caller(admin.client, "", headers)
