"""The form of a route: made of the API's own model, with integrations and severities by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pulse_core.records import AlertEvent, Severity
from pulse_server.inputs import RouteFields
from pulse_server.web.forms import Form

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

_SEVERITIES = list(reversed(Severity))
_HELP: Final = {
    "name": "What people call it. It may be empty: a route says itself what it does.",
    "integration_id": "Whom it tells.",
    "deliver_on": "What must happen to an alert.",
    "min_severity": "That severity and everything above it.",
    "severities": "These alone. None ticked: all.",
    "alert_types": "Such as `NO_HEARTBEAT`. Empty: all.",
    "site_ids": "Empty: all.",
    "device_prefixes": "What the ids of devices begin with. Empty: all.",
    "fallback_integration_id": "Is told instead when the first is given up, or was not reachable for that long.",
    "fallback_after_s": "How long the first may be unreachable.",
    "priority": "Routes are asked in this order, the smallest first. Every one that fits tells.",
    "enabled": "While it is not, it tells nobody.",
}
"""By field, in the order in which they are shown."""
_TITLES: Final = {
    "integration_id": "Integration",
    "deliver_on": "Tells when an alert is",
    "min_severity": "Least severity",
    "severities": "Only these severities",
    "site_ids": "Sites",
    "fallback_integration_id": "Fallback integration",
}


def form_of(targets: Mapping[uuid.UUID, Mapping[str, Any]]) -> Form:
    """What the API takes for a route, as a form.

    :param targets: the integrations that can be chosen, by id.
    """
    schema = RouteFields.model_json_schema()
    found = {**schema["properties"], **_chosen(targets)}
    properties = {
        name: {**found[name], "description": text, "title": _TITLES.get(name, "")} for name, text in _HELP.items()
    }
    return Form({**schema, "properties": properties})


def _chosen(targets: Mapping[uuid.UUID, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The fields with values to choose from, each by a name that people know."""
    integrations = _named([str(each) for each in targets], [_target(each) for each in targets.values()])
    severities = _named([int(each) for each in _SEVERITIES], [each.name for each in _SEVERITIES])
    events = _named([each.value for each in AlertEvent], [each.capitalize() for each in AlertEvent])
    return {
        "integration_id": integrations,
        "fallback_integration_id": {"anyOf": [integrations, {"type": "null"}], "default": None},
        "min_severity": {"anyOf": [severities, {"type": "null"}], "default": None},
        "severities": {"type": "array", "items": severities, "uniqueItems": True, "default": []},
        "deliver_on": {"type": "array", "items": events, "uniqueItems": True, "default": ["OPEN"]},
    }


def _named(values: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    return {"enum": list(values), "enumNames": list(names)}


def _target(found: Mapping[str, Any]) -> str:
    return f"{found['name']} ({found['type']}{'' if found['enabled'] else ', disabled'})"
