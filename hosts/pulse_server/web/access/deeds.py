"""The audit log as a page: what each line says in words, and which lines are asked for."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from pulse_server.web.entrance.principal import principal
from pulse_server.web.replies import parts_of
from pulse_server.web.views import either

if TYPE_CHECKING:
    from quart import Response

    from pulse_postgres.paging import Page
    from pulse_server.inputs import AuditPage

WORDS: Final = {
    "admin.access": "looked, with the admin key, at",
    "alert.acknowledge": "acknowledged the alert",
    "alert.close": "closed the alert",
    "delivery.cancel": "cancelled the delivery",
    "delivery.replay": "sent again the delivery",
    "delivery.replay-all": "sent again many deliveries:",
    "device.activate-code": "made an activation code for the device",
    "device.change": "changed the device",
    "device.command": "sent a command to the device",
    "device.create": "registered the device",
    "device.revoke": "revoked the device",
    "device.rotate-token": "gave a new token to the device",
    "integration.create": "added the integration",
    "integration.delete": "deleted the integration",
    "integration.test": "tested the integration",
    "integration.update": "changed the integration",
    "keys.add": "added the signing key",
    "operator.access": "looked, across tenants, at",
    "reader.create": "made a reader's login",
    "reader.password": "gave another password to the reader's login",
    "reader.remove": "removed the reader's login",
    "route.create": "added the route",
    "route.delete": "deleted the route",
    "route.update": "changed the route",
    "secrets.rotate": "replaced the secret key",
    "session.reuse": "was logged out, since an old token came back, of",
    "settings.save": "changed the",
    "tenant.change": "changed the tenant",
    "tenant.create": "added the tenant",
    "tenant.remove": "removed the tenant",
    "token.create": "made the API token",
    "token.revoke": "revoked the API token",
    "user.change": "changed the user",
    "user.create": "added the user",
    "user.disable": "disabled the user",
    "user.enable": "enabled the user",
    "user.login": "logged in",
    "user.logout": "logged out",
    "user.password": "replaced the password of",
    "user.remove": "removed the user",
}
"""By action; what it was done to follows. Others are told as they are called."""


async def many(at: str, asked: AuditPage, found: Page) -> Response:
    """A part of the log, for people and programs."""

    async def besides() -> dict[str, Any]:
        times = {"from": asked.since, "before": asked.before}
        local = {name: each.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") for name, each in times.items() if each}
        return {"at": at, "for_operators": principal().tenant_id is None, "words_of": WORDS, "times": local}

    return await either("access/audit_log.html", parts_of(found), besides=besides)
