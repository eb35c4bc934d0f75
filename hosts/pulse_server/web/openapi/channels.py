"""The installed channels' own schemas: what the ``config`` of an integration can be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pulse_core.plugins import channel_schema
from pulse_server.web.openapi.schemas import TEMPLATE

if TYPE_CHECKING:
    from pulse_core.plugin_set import Plugins

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_MADE = ("IntegrationFields", "IntegrationBody")
"""Bodies with a whole ``config``; in a change of one, anything may be left out or null."""


def add(document: dict[str, Any], plugins: Plugins) -> None:
    """Say of each body with a ``config`` which ones there are. Defaults and descriptions are the channels' own."""
    schemas, names = document["components"]["schemas"], sorted(plugins.channels)
    for name in names:
        schemas.update(_components(f"{name}_config", channel_schema(plugins.channels[name])))
    for body in _MADE if names else ():
        schemas[body]["properties"]["config"] = {
            "description": "By the channel's type; nothing at all if it is left out.",
            "anyOf": [{"$ref": TEMPLATE.format(model=f"{name}_config")} for name in names],
        }
    for operations in document["paths"].values():
        for method, operation in operations.items():
            for parameter in operation["parameters"] if method != "servers" else ():
                if parameter["name"] == "type":
                    parameter["examples"] = {name: {"value": name} for name in names}


def _components(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema and its ``$defs`` as components: their references lead to their new places."""
    parts = schema.get("$defs", {})
    places = {f"#/$defs/{inner}": f"{name}_{_NOT_IN_NAMES.sub('_', inner)}" for inner in parts}
    found = {places[f"#/$defs/{inner}"]: _moved(part, places) for inner, part in parts.items()}
    return {name: _moved({key: part for key, part in schema.items() if key != "$defs"}, places), **found}


def _moved(part: Any, places: dict[str, str]) -> Any:
    if isinstance(part, list):
        return [_moved(each, places) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: TEMPLATE.format(model=places[each])
        if key in {"$ref", "$dynamicRef"} and isinstance(each, str) and each in places
        else _moved(each, places)
        for key, each in part.items()
    }
