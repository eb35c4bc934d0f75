"""Why somebody was, or was not, told of an alert: what was stored, put together and said in sentences. Pure."""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_WHY_NOT = {
    "enabled": "the route was switched off",
    "integration_enabled": "its integration was disabled, and the route names none to fall back to",
    "integration_deleted": "its integration was being deleted at that very moment",
    "deliver_on": "the route does not tell of {event}",
    "alert_types": "the route does not tell of {alert_type}",
    "severities": "the route does not tell of severity {severity_name}",
    "min_severity": "severity {severity_name} is below what the route tells of",
    "site_ids": "the route does not tell of site {site_id}",
    "device_prefixes": "device {device_id} begins with none of the route's prefixes",
}


def why(decision: Mapping[str, Any], alert: Mapping[str, Any], event: str) -> str:
    """One route's decision as a sentence."""
    if decision["matched"]:
        return "every condition of the route held"
    failed = decision["failed"]
    return _WHY_NOT.get(failed, f"its condition {failed} did not hold").format(**{**alert, "event": event})


def integrations_in(alert: Mapping[str, Any]) -> list[uuid.UUID]:
    """Which integrations the routes led to that decided about an alert."""
    decisions = (each for change in alert["changes"] for each in change["decisions"])
    return [uuid.UUID(each["integration_id"]) for each in decisions if each.get("integration_id")]


def routes_in(alert: Mapping[str, Any]) -> set[uuid.UUID]:
    """Which routes decided about an alert."""
    return {uuid.UUID(each["route_id"]) for change in alert["changes"] for each in change["decisions"]}


def trace_of(
    alert: Mapping[str, Any], deliveries: Sequence[dict[str, Any]], names: Mapping[uuid.UUID, Mapping[str, Any]]
) -> dict[str, Any]:
    """The alert; for each change every route with ``why`` and the deliveries that it made; and what is left.

    A delivery holds what it ``caused`` (its fallback, its replays). ``others`` are those that no decision made.

    :param names: integrations by id, deleted ones too.
    """
    first = _nested(deliveries)
    changes = [
        {
            "event": change["event"],
            "changed_at": change["changed_at"],
            "actor": change["actor"],
            "note": change["note"],
            "routes": [
                {
                    "route_id": decision["route_id"],
                    "name": decision.get("name", ""),
                    "integration": names.get(_id(decision.get("integration_id"))),
                    "matched": decision["matched"],
                    "failed": decision["failed"],
                    "why": why(decision, alert, change["event"]),
                    "deliveries": first.pop((change["event"], decision["route_id"]), []),
                }
                for decision in change["decisions"]
            ],
        }
        for change in alert["changes"]
    ]
    about = {name: value for name, value in alert.items() if name != "changes"}
    return {"alert": about, "changes": changes, "others": [each for rest in first.values() for each in rest]}


def _nested(deliveries: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Each delivery inside the one that caused it; those that none caused by (event, route)."""
    known = {each["delivery_id"]: {**each, "caused": []} for each in deliveries}
    first: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in known.values():
        if each["caused_by"] in known:
            known[each["caused_by"]]["caused"].append(each)
        else:
            first[(each["event"], str(each["route_id"] or ""))].append(each)
    return first


def _id(text: str | None) -> uuid.UUID:
    return uuid.UUID(text) if text else uuid.UUID(int=0)
