"""Who may call what: a declared answer for every route of the web application, and the callers to try it with."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from pulse_core.principal import Role
from support.admin import Caller
from support.batches import judged
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Quart

    from support.database import Database

OURS, THEIRS = TENANTS
NOBODY = uuid.UUID("00000000-0000-4000-8000-000000000000")
BODIES: dict[str, Any] = {"POST": {}, "PUT": {}, "PATCH": {"name": "changed"}}
BODIES_OF: dict[str, Any] = {
    "PATCH /customer/users/<uuid:user_id>": {"email": "a@example.com"},
    "PATCH /operator/users/<uuid:user_id>": {"email": "a@example.com"},
    "PATCH /customer/settings": {"stale_after_s": 60},
}
"""Where the method's does not fit."""

READERS = frozenset({"customer_viewer", "customer_admin"})
WRITERS = frozenset({"customer_admin"})
OPERATORS = frozenset({"operator", "operator_admin"})
OPERATOR_ADMINS = frozenset({"operator_admin"})
KEY_HOLDERS = frozenset({"admin key"})
EVERYBODY = None


class Always(NamedTuple):
    """The same refusal for all, as long as they come with nothing but who they are."""

    status: int


NOT_FROM_ELSEWHERE = Always(403)
"""The demo's page, for whoever does not sit at this machine."""
NOT_WITHOUT_ITS_FORM = Always(403)
NOT_BEGUN = Always(400)
"""Nobody comes back who did not leave from here."""
NOT_THERE = Always(404)
"""Accounts send nobody elsewhere."""

RIGHTS: dict[str, frozenset[str] | Always | None] = {
    "GET /": READERS | OPERATORS,
    "GET /login": EVERYBODY,
    "POST /login": NOT_WITHOUT_ITS_FORM,
    "GET /login/<provider>": NOT_THERE,
    "GET /callback": NOT_BEGUN,
    "GET /logout": EVERYBODY,
    "POST /logout": EVERYBODY,
    "GET /live": NOT_FROM_ELSEWHERE,
    "GET /live/data.json": NOT_FROM_ELSEWHERE,
    "GET /static/<path:filename>": EVERYBODY,
    "GET /docs": EVERYBODY,
    "GET /docs/assets/<name>": EVERYBODY,
    "GET /openapi.json": EVERYBODY,
    "GET /assets/<version>/<name>": EVERYBODY,
    "GET /.well-known/jwks.json": EVERYBODY,
    "GET /.well-known/oauth-authorization-server": EVERYBODY,
    "POST /api/auth/token": EVERYBODY,
    "POST /api/auth/refresh": EVERYBODY,
    "POST /api/auth/logout": EVERYBODY,
    "GET /api/auth/status": READERS | OPERATORS,
    "POST /api/auth/password": READERS | OPERATORS,
    "GET /profile": READERS | OPERATORS,
    "POST /profile/password": READERS | OPERATORS,
    "POST /profile/theme": READERS | OPERATORS,
    "GET /customer/alerts": READERS,
    "GET /customer/alerts/<uuid:alert_id>": READERS,
    "GET /customer/alerts/<uuid:alert_id>/trace": READERS,
    "POST /customer/alerts/<uuid:alert_id>/acknowledge": WRITERS,
    "POST /customer/alerts/<uuid:alert_id>/close": WRITERS,
    "POST /customer/alerts/acknowledge": WRITERS,
    "POST /customer/alerts/close": WRITERS,
    "GET /customer/api-tokens": WRITERS,
    "POST /customer/api-tokens": WRITERS,
    "GET /customer/api-tokens/new": WRITERS,
    "POST /customer/api-tokens/new": WRITERS,
    "GET /customer/api-tokens/<uuid:token_id>": WRITERS,
    "DELETE /customer/api-tokens/<uuid:token_id>": WRITERS,
    "GET /customer/api-tokens/<uuid:token_id>/revoke": WRITERS,
    "POST /customer/api-tokens/<uuid:token_id>/revoke": WRITERS,
    "GET /customer/audit-log": WRITERS,
    "GET /customer/channel-types": READERS,
    "GET /customer/commands": READERS,
    "GET /customer/commands/<uuid:command_id>": READERS,
    "GET /customer/dashboard": READERS,
    "GET /customer/dashboard/history": READERS,
    "GET /customer/deliveries": READERS,
    "GET /customer/deliveries/<uuid:delivery_id>": READERS,
    "GET /customer/deliveries/<uuid:delivery_id>/batch": READERS,
    "POST /customer/deliveries/<uuid:delivery_id>/cancel": WRITERS,
    "POST /customer/deliveries/<uuid:delivery_id>/replay": WRITERS,
    "POST /customer/deliveries/replay": WRITERS,
    "GET /customer/delivery-status": READERS,
    "GET /customer/devices": READERS,
    "POST /customer/devices": WRITERS,
    "GET /customer/devices/new": WRITERS,
    "POST /customer/devices/new": WRITERS,
    "GET /customer/devices/<device_id>": READERS,
    "GET /customer/devices/<device_id>/activate-code": WRITERS,
    "POST /customer/devices/<device_id>/activate-code": WRITERS,
    "GET /customer/devices/<device_id>/commands": READERS,
    "POST /customer/devices/<device_id>/commands": WRITERS,
    "GET /customer/devices/<device_id>/commands/new": WRITERS,
    "POST /customer/devices/<device_id>/commands/new": WRITERS,
    "GET /customer/devices/<device_id>/connections": READERS,
    "GET /customer/devices/<device_id>/edit": WRITERS,
    "GET /customer/devices/<device_id>/events": READERS,
    "POST /customer/devices/<device_id>/edit": WRITERS,
    "GET /customer/devices/<device_id>/revoke": WRITERS,
    "POST /customer/devices/<device_id>/revoke": WRITERS,
    "GET /customer/devices/<device_id>/rotate-token": WRITERS,
    "POST /customer/devices/<device_id>/rotate-token": WRITERS,
    "PATCH /customer/devices/<device_id>": WRITERS,
    "GET /customer/devices/<device_id>/telemetry": READERS,
    "GET /customer/events": READERS,
    "GET /customer/integration-routes": READERS,
    "POST /customer/integration-routes": WRITERS,
    "POST /customer/integration-routes/preview": WRITERS,
    "GET /customer/integration-routes/<uuid:route_id>": READERS,
    "PATCH /customer/integration-routes/<uuid:route_id>": WRITERS,
    "DELETE /customer/integration-routes/<uuid:route_id>": WRITERS,
    "GET /customer/integration-routes/new": WRITERS,
    "POST /customer/integration-routes/new": WRITERS,
    "GET /customer/integration-routes/<uuid:route_id>/edit": WRITERS,
    "POST /customer/integration-routes/<uuid:route_id>/edit": WRITERS,
    "GET /customer/integration-routes/<uuid:route_id>/delete": WRITERS,
    "POST /customer/integration-routes/<uuid:route_id>/delete": WRITERS,
    "GET /customer/integrations": READERS,
    "POST /customer/integrations": WRITERS,
    "GET /customer/integrations/<uuid:integration_id>": READERS,
    "PATCH /customer/integrations/<uuid:integration_id>": WRITERS,
    "DELETE /customer/integrations/<uuid:integration_id>": WRITERS,
    "POST /customer/integrations/<uuid:integration_id>/test": WRITERS,
    "GET /customer/integrations/<channel:type_>/new": WRITERS,
    "POST /customer/integrations/<channel:type_>/new": WRITERS,
    "GET /customer/integrations/<uuid:integration_id>/edit": WRITERS,
    "POST /customer/integrations/<uuid:integration_id>/edit": WRITERS,
    "GET /customer/integrations/<uuid:integration_id>/delete": WRITERS,
    "POST /customer/integrations/<uuid:integration_id>/delete": WRITERS,
    "GET /customer/integrations/<channel:type_>": READERS,
    "POST /customer/integrations/<channel:type_>": WRITERS,
    "GET /customer/integrations/<channel:type_>/<uuid:integration_id>": READERS,
    "PATCH /customer/integrations/<channel:type_>/<uuid:integration_id>": WRITERS,
    "DELETE /customer/integrations/<channel:type_>/<uuid:integration_id>": WRITERS,
    "POST /customer/integrations/<channel:type_>/<uuid:integration_id>/test": WRITERS,
    "GET /customer/telemetry/query": READERS,
    "GET /customer/telemetry/exports": READERS,
    "POST /customer/telemetry/exports": WRITERS,
    "GET /customer/telemetry/exports/<uuid:export_id>": READERS,
    "GET /customer/telemetry/exports/<uuid:export_id>/file": READERS,
    "DELETE /customer/telemetry/exports/<uuid:export_id>": WRITERS,
    "GET /customer/telemetry/exports/new": WRITERS,
    "POST /customer/telemetry/exports/new": WRITERS,
    "POST /customer/telemetry/exports/<uuid:export_id>/end": WRITERS,
    "GET /customer/metrics": READERS,
    "GET /customer/metrics/<metric>": READERS,
    "PUT /customer/metrics/<metric>": WRITERS,
    "DELETE /customer/metrics/<metric>": WRITERS,
    "GET /customer/metrics/<metric>/edit": WRITERS,
    "POST /customer/metrics/<metric>/edit": WRITERS,
    "GET /customer/metrics/<metric>/delete": WRITERS,
    "POST /customer/metrics/<metric>/delete": WRITERS,
    "GET /customer/settings": READERS,
    "PATCH /customer/settings": WRITERS,
    "POST /customer/settings": WRITERS,
    "GET /customer/users": WRITERS,
    "POST /customer/users": WRITERS,
    "GET /customer/users/new": WRITERS,
    "POST /customer/users/new": WRITERS,
    "GET /customer/users/<uuid:user_id>": WRITERS,
    "PATCH /customer/users/<uuid:user_id>": WRITERS,
    "DELETE /customer/users/<uuid:user_id>": WRITERS,
    "GET /customer/users/<uuid:user_id>/edit": WRITERS,
    "POST /customer/users/<uuid:user_id>/edit": WRITERS,
    "GET /customer/users/<uuid:user_id>/password": WRITERS,
    "POST /customer/users/<uuid:user_id>/password": WRITERS,
    "POST /customer/users/<uuid:user_id>/disable": WRITERS,
    "POST /customer/users/<uuid:user_id>/enable": WRITERS,
    "GET /customer/users/<uuid:user_id>/remove": WRITERS,
    "POST /customer/users/<uuid:user_id>/remove": WRITERS,
    "GET /operator/alerts": OPERATORS,
    "GET /operator/api-tokens": OPERATOR_ADMINS,
    "POST /operator/api-tokens": OPERATOR_ADMINS,
    "GET /operator/api-tokens/new": OPERATOR_ADMINS,
    "POST /operator/api-tokens/new": OPERATOR_ADMINS,
    "GET /operator/api-tokens/<uuid:token_id>": OPERATOR_ADMINS,
    "DELETE /operator/api-tokens/<uuid:token_id>": OPERATOR_ADMINS,
    "GET /operator/api-tokens/<uuid:token_id>/revoke": OPERATOR_ADMINS,
    "POST /operator/api-tokens/<uuid:token_id>/revoke": OPERATOR_ADMINS,
    "GET /operator/audit-log": OPERATOR_ADMINS,
    "GET /operator/commands": OPERATORS,
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
    "GET /operator/settings/changes": OPERATOR_ADMINS,
    "POST /operator/settings": OPERATOR_ADMINS,
    "GET /operator/tenants": OPERATOR_ADMINS,
    "POST /operator/tenants": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>": OPERATOR_ADMINS,
    "PATCH /operator/tenants/<tenant_id>": OPERATOR_ADMINS,
    "DELETE /operator/tenants/<tenant_id>": OPERATOR_ADMINS,
    "GET /operator/tenants/~new": OPERATOR_ADMINS,
    "POST /operator/tenants/~new": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>/edit": OPERATOR_ADMINS,
    "POST /operator/tenants/<tenant_id>/edit": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>/suspend": OPERATOR_ADMINS,
    "POST /operator/tenants/<tenant_id>/suspend": OPERATOR_ADMINS,
    "POST /operator/tenants/<tenant_id>/resume": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>/remove": OPERATOR_ADMINS,
    "POST /operator/tenants/<tenant_id>/remove": OPERATOR_ADMINS,
    "GET /operator/tenants/<tenant_id>/devices": OPERATORS,
    "GET /operator/tenants/<tenant_id>/devices/<device_id>": OPERATORS,
    "GET /operator/tenants/<tenant_id>/devices/<device_id>/telemetry": OPERATORS,
    "GET /operator/telemetry/query": OPERATORS,
    "GET /operator/tenants/<tenant_id>/metrics": OPERATORS,
    "GET /operator/tenants/<tenant_id>/metrics/<metric>": OPERATORS,
    "GET /operator/users": OPERATOR_ADMINS,
    "POST /operator/users": OPERATOR_ADMINS,
    "GET /operator/users/new": OPERATOR_ADMINS,
    "POST /operator/users/new": OPERATOR_ADMINS,
    "GET /operator/users/<uuid:user_id>": OPERATOR_ADMINS,
    "PATCH /operator/users/<uuid:user_id>": OPERATOR_ADMINS,
    "DELETE /operator/users/<uuid:user_id>": OPERATOR_ADMINS,
    "GET /operator/users/<uuid:user_id>/edit": OPERATOR_ADMINS,
    "POST /operator/users/<uuid:user_id>/edit": OPERATOR_ADMINS,
    "GET /operator/users/<uuid:user_id>/password": OPERATOR_ADMINS,
    "POST /operator/users/<uuid:user_id>/password": OPERATOR_ADMINS,
    "POST /operator/users/<uuid:user_id>/disable": OPERATOR_ADMINS,
    "POST /operator/users/<uuid:user_id>/enable": OPERATOR_ADMINS,
    "GET /operator/users/<uuid:user_id>/remove": OPERATOR_ADMINS,
    "POST /operator/users/<uuid:user_id>/remove": OPERATOR_ADMINS,
    "GET /api/admin/alerts": KEY_HOLDERS,
    "GET /api/admin/deliveries": KEY_HOLDERS,
    "GET /api/admin/devices": KEY_HOLDERS,
    "POST /api/admin/devices": KEY_HOLDERS,
    "POST /api/admin/devices/<device_id>/activate-code": KEY_HOLDERS,
    "GET /api/admin/devices/<tenant_id>/<device_id>": KEY_HOLDERS,
    "PATCH /api/admin/devices/<tenant_id>/<device_id>": KEY_HOLDERS,
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


ASKING = {
    "GET /logout", "GET /customer/devices/<device_id>/activate-code", "GET /customer/devices/<device_id>/rotate-token",
    "GET /customer/devices/<device_id>/revoke", "POST /customer/settings",
}  # fmt: skip
"""Pages that ask, and a form, at the addresses where a program does what they ask about."""


QUERIES = {"GET /operator/telemetry/query": f"?tenant_id={OURS}"}
"""What must be asked for in the query."""


class Route(NamedTuple):
    """A method and a pattern of the URL map."""

    method: str
    rule: str

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"

    @property
    def of_one(self) -> bool:
        """Whether it names one object of the caller's tenant. What is PUT is made, if need be."""
        return any(each in self.rule for each in ("<uuid:", "<device_id>", "<metric>")) and self.method != "PUT"

    @property
    def wanting(self) -> dict[str, str]:
        """The headers of a caller who is answered with more than that a program may not."""
        return {"Accept": "text/html"} if str(self) in ASKING else {}

    def path(self, object_id: uuid.UUID | None = None, device_id: str = "d") -> str:
        """A path that fits, for objects of ours unless others are given."""
        path = re.sub(r"<uuid:\w+>", str(object_id or an_id(OURS)), self.rule)
        return (
            path.replace("<channel:type_>", "webhook")
            .replace("<path:filename>", "live.js")
            .replace("<version>/<name>", "0/live.js")
            .replace("<tenant_id>", OURS)
            .replace("<provider>", "accounts")
            .replace("<device_id>", device_id)
            .replace("<metric>", device_id)
            .replace("<name>", "swagger-ui.css")
        )


def routes(app: Quart, prefix: str = "") -> list[Route]:
    """Every route of the application below ``prefix``."""
    return sorted(
        Route(method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(prefix)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def body_for(route: Route) -> Any:
    """A body that is none of the caller's faults, as far as one can say that of all routes."""
    return BODIES_OF.get(str(route), BODIES.get(route.method))


async def ask(caller: Caller, route: Route, path: str | None = None, **more: Any) -> tuple[int, Any, Any]:
    """Call a route with a body that is none of the caller's faults, as far as one can say that of all routes."""
    if path is None:
        path = route.path() + QUERIES.get(str(route), "")
    return await Caller(caller.client, "", caller.headers).call(route.method, path, body_for(route), **more)


BY_COOKIE = " by cookie"
"""What the name of a caller ends in that comes with a session's cookie."""
_ROLES = frozenset(map(str, Role))


def expected(route: Route, caller: str) -> set[int]:
    """The statuses that refuse this caller; none when it is to be let in."""
    wanted = RIGHTS[str(route)]
    if isinstance(wanted, Always):
        return {wanted.status}
    role = caller.removesuffix(BY_COOKIE)
    if wanted is EVERYBODY or role in wanted:
        return set()
    return {403} if wanted is not KEY_HOLDERS and role in _ROLES else {401}


def snapshot(database: Database, tables: Iterable[str], where: str = "true") -> dict[str, Any]:
    """What stands in some tables, but for when tokens and sessions were used."""
    return {
        table: judged(
            database, f"SELECT (to_jsonb(t) - 'last_used_at' - 'seen_at')::text FROM {table} t WHERE {where} ORDER BY 1"
        )
        for table in tables
    }
