"""Every condition that a route can have is said in its sentence."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from pulse_core.records import Route
from pulse_postgres.integration_pages import shown_route
from pulse_server.route_sentences import sentence

DUTY, MAIL, GONE = (uuid.UUID(int=number) for number in (1, 2, 3))
TARGETS = {DUTY: {"name": "PagerDuty", "enabled": True}, MAIL: {"name": "Mail", "enabled": False}}
EVIL = "<b>&\u202e"

TABLE: list[tuple[dict[str, Any], str]] = [
    ({}, "Every alert → PagerDuty, on open"),
    (
        {"min_severity": 4, "site_ids": {"lab-1"}, "deliver_on": {"OPEN", "CLOSED"}},
        "MAJOR and above from site lab-1 → PagerDuty, on open and close",
    ),
    ({"min_severity": 5}, "CRITICAL → PagerDuty, on open"),
    ({"min_severity": 1}, "Every alert → PagerDuty, on open"),
    ({"severities": {3, 1}}, "INFO or WARNING → PagerDuty, on open"),
    ({"severities": {1, 3, 4}, "min_severity": 3}, "WARNING or MAJOR → PagerDuty, on open"),
    ({"severities": {3, 4, 5}}, "WARNING and above → PagerDuty, on open"),
    (
        {"severities": {1, 2}, "min_severity": 4},
        "Nothing (no severity is INFO or NOTICE and also MAJOR or above) → PagerDuty, on open",
    ),
    ({"alert_types": {"NO_HEARTBEAT"}}, "Every alert of type NO_HEARTBEAT → PagerDuty, on open"),
    (
        {"min_severity": 4, "alert_types": {"A", "B"}, "site_ids": {"s", "t"}, "device_prefixes": ("pump-", "fan-")},
        "MAJOR and above of type A or B from sites s or t, devices that begin with pump- or fan- → PagerDuty, on open",
    ),
    ({"site_ids": set("abcd")}, "Every alert from sites a, b, c or d → PagerDuty, on open"),
    ({"site_ids": set("abcdef")}, "Every alert from sites a, b, c or 3 more → PagerDuty, on open"),
    (
        {"deliver_on": {"CLOSED", "OPEN", "ACKNOWLEDGED"}},
        "Every alert → PagerDuty, on open, acknowledge and close",
    ),
    (
        {"fallback_integration_id": MAIL},
        "Every alert → PagerDuty, on open; if that is given up or not reachable for 10 min, → Mail (disabled)",
    ),
    (
        {"fallback_integration_id": MAIL, "fallback_after_s": 90},
        "Every alert → PagerDuty, on open; if that is given up or not reachable for 90 s, → Mail (disabled)",
    ),
    (
        {"fallback_integration_id": MAIL, "fallback_after_s": 7200},
        "Every alert → PagerDuty, on open; if that is given up or not reachable for 2 h, → Mail (disabled)",
    ),
    (
        {"fallback_integration_id": MAIL, "fallback_after_s": 0},
        "Every alert → PagerDuty, on open; if that is given up or not reachable, → Mail (disabled)",
    ),
    ({"enabled": False}, "Switched off: Every alert → PagerDuty, on open"),
    ({"integration_id": MAIL}, "Every alert → Mail (disabled), on open"),
    ({"integration_id": GONE}, "Every alert → an integration that is not there any more, on open"),
    ({"alert_types": {EVIL}}, f"Every alert of type {EVIL} → PagerDuty, on open"),
]


@pytest.mark.parametrize(("fields", "wanted"), TABLE, ids=range(len(TABLE)))
def test_it_says_what_the_route_does(fields: dict[str, Any], wanted: str) -> None:
    sets = {name: frozenset(value) if isinstance(value, set) else value for name, value in fields.items()}
    whole: dict[str, Any] = {"tenant_id": "t", "route_id": uuid.UUID(int=9), "integration_id": DUTY, **sets}
    route = Route(**whole)
    assert sentence(shown_route(route), TARGETS) == wanted


def test_every_condition_of_a_route_has_a_row_in_the_table() -> None:
    of_no_condition = {"tenant_id", "route_id", "name", "priority", "integration_enabled", "revision"}
    assert {name for fields, _ in TABLE for name in fields} == set(Route.__struct_fields__) - of_no_condition
