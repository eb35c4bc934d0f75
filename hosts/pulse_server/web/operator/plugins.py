"""``/operator/plugins``: what is installed, what it brings, how it is doing, what failed, how it is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from quart import Blueprint, Response

from pulse_core.api import Channel
from pulse_core.masking import split_secrets
from pulse_postgres.delivery.failures import last_failures
from pulse_server.outputs.operating import PluginList
from pulse_server.web.described import described
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    from pulse_core.plugin_set import PluginStatus

blueprint = Blueprint("plugins", __name__, url_prefix="/plugins")

_FAILURES_OF_EACH = 5


@blueprint.get("")
@described(PluginList)
async def show() -> Response:
    """Every installed plugin, the enabled ones first, with the configuration of what it brought, secrets masked."""
    failures = await last_failures(services().pools.operator, _FAILURES_OF_EACH)
    return await either(
        "operator/plugins.html", {"items": [_shown(each, failures) for each in services().plugins.statuses]}
    )


def _shown(status: PluginStatus, failures: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    plugins = services().plugins
    brought = plugins.contributed_by(status.name)
    failed = [failure for each in brought if issubclass(each, Channel) for failure in failures.get(each.name, ())]
    return {
        **msgspec.to_builtins(status),
        "enabled": status.name in services().config.plugins.enabled,
        "config": {each.name: split_secrets(plugins.config_of(each))[0] for each in brought},
        "failures": sorted(failed, key=lambda each: each["at"], reverse=True),
    }
