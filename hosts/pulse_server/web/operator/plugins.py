"""``/operator/plugins``: what is installed, what it brings, how it is doing, how it is configured."""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response

from pulse_core.masking import split_secrets
from pulse_server.outputs.operating import PluginList
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.services import services

blueprint = Blueprint("plugins", __name__, url_prefix="/plugins")


@blueprint.get("")
@described(PluginList)
async def show() -> Response:
    """Every installed plugin, the enabled ones first, with the configuration of what it brought, secrets masked."""
    plugins = services().plugins
    return reply(
        {
            "items": [
                {
                    **msgspec.to_builtins(status),
                    "enabled": status.name in services().config.plugins.enabled,
                    "config": {
                        contribution.name: split_secrets(plugins.config_of(contribution))[0]
                        for contribution in plugins.contributed_by(status.name)
                    },
                }
                for status in plugins.statuses
            ]
        }
    )
