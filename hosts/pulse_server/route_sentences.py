"""A route as one sentence that people read: "MAJOR and above from site lab-1 → PagerDuty, on open and close". Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.records import AlertEvent, Severity

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

_SAID = 4
"""Of a longer list the first are said, and how many more there are."""
_ON = {AlertEvent.OPEN: "open", AlertEvent.ACKNOWLEDGED: "acknowledge", AlertEvent.CLOSED: "close"}
_UNITS = ((3600, "h"), (60, "min"), (1, "s"))


def sentence(route: Mapping[str, Any], targets: Mapping[uuid.UUID, Mapping[str, Any]]) -> str:
    """Say what a route does.

    :param route: its fields, as the API shows them.
    :param targets: ``name`` and ``enabled`` of the integrations that it leads to, by id.
    """
    told = f"{_which(route)} → {_target(route['integration_id'], targets)}, on {_events(route['deliver_on'])}"
    if route["fallback_integration_id"] is not None:
        after_s = route["fallback_after_s"]
        unreachable = f"not reachable for {_length(after_s)}" if after_s else "not reachable"
        told += f"; if that is given up or {unreachable}, → {_target(route['fallback_integration_id'], targets)}"
    return told if route["enabled"] else f"Switched off: {told}"


def _which(route: Mapping[str, Any]) -> str:
    """Which alerts fit."""
    told = _severities(route["severities"], route["min_severity"])
    if route["alert_types"]:
        told += f" of type {_any_of(route['alert_types'])}"
    if sites := route["site_ids"]:
        told += f" from {'site' if len(sites) == 1 else 'sites'} {_any_of(sites)}"
    if route["device_prefixes"]:
        told += f", devices that begin with {_any_of(route['device_prefixes'])}"
    return told


def _severities(listed: Sequence[int], least: int | None) -> str:
    """Both conditions must hold: what is said is what is left."""
    fit = [each for each in Severity if (not listed or each in listed) and (least is None or each >= least)]
    if not fit:
        return f"Nothing (no severity is {_any_of(_names(listed))} and also {Severity(least or 1).name} or above)"
    if len(fit) == len(Severity):
        return "Every alert"
    if len(fit) > 1 and fit == [each for each in Severity if each >= fit[0]]:
        return f"{fit[0].name} and above"
    return _any_of(_names(fit))


def _names(severities: Sequence[int]) -> list[str]:
    return [Severity(each).name for each in sorted(severities)]


def _target(integration_id: uuid.UUID, targets: Mapping[uuid.UUID, Mapping[str, Any]]) -> str:
    found = targets.get(integration_id)
    if found is None:
        return "an integration that is not there any more"
    return str(found["name"]) if found["enabled"] else f"{found['name']} (disabled)"


def _events(deliver_on: Sequence[str]) -> str:
    return _joined([text for event, text in _ON.items() if event in deliver_on], "and")


def _any_of(values: Sequence[str]) -> str:
    if len(values) <= _SAID:
        return _joined(values, "or")
    return f"{', '.join(values[: _SAID - 1])} or {len(values) - _SAID + 1} more"


def _joined(values: Sequence[str], word: str) -> str:
    *first, last = values
    return f"{', '.join(first)} {word} {last}" if first else last


def _length(seconds: int) -> str:
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size} {unit}"
