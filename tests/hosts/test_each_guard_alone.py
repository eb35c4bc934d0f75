"""The whole customer API, from the URL map itself: behind either guard alone it gives and changes nothing foreign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pulse_server.trial
from support.guards import OURS, THEIR_DEVICE, THEIRS, Answer, Guards, world
from support.rights import Route, routes
from support.two_tenants import an_id

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database, PostgresServer

BOTH = Guards(query=True, policy=True)
QUERY_ALONE = Guards(query=True, policy=False)
POLICY_ALONE = Guards(query=False, policy=True)
NEITHER = Guards(query=False, policy=False)

SUCCESS = {*range(200, 300), 303}
NOTHING_FITS = '{\n "count": 0,\n "dry_run": true\n}'

WEBHOOK = {
    "name": "made",
    "config": {"url": "https://example.com/hook", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
}
BODIES: dict[str, Any] = {
    "POST /customer/users": {"username": "made", "role": "customer_viewer", "password": "correct horse battery"},
    "PATCH /customer/users/<uuid:user_id>": {"email": "changed@example.com"},
    "POST /customer/api-tokens": {"name": "made", "role": "customer_viewer"},
    "POST /customer/devices": {"device_id": "made", "site_id": "s"},
    "PATCH /customer/devices/<device_id>": {"name": "changed"},
    "POST /customer/devices/<device_id>/commands": {"name": "blink"},
    "PUT /customer/metrics/<metric>": {"unit": "changed"},
    "POST /customer/alerts/acknowledge": {"alert_ids": [str(an_id(OURS))]},
    "POST /customer/alerts/close": {"alert_ids": [str(an_id(OURS))]},
    "POST /customer/integrations": WEBHOOK,
    "POST /customer/integrations/<channel:type_>": WEBHOOK,
    "PATCH /customer/integrations/<uuid:integration_id>": {"name": "changed", "enabled": False},
    "PATCH /customer/integrations/<channel:type_>/<uuid:integration_id>": {"name": "changed"},
    "POST /customer/integration-routes": {"integration_id": str(an_id(OURS)), "name": "made"},
    "POST /customer/integration-routes/preview": {"integration_id": str(an_id(OURS)), "deliver_on": ["OPEN", "CLOSED"]},
    "PATCH /customer/integration-routes/<uuid:route_id>": {"name": "changed"},
    "POST /customer/deliveries/replay": {"status": "DELIVERED"},
    "POST /customer/telemetry/exports": {"devices": ["d"]},
    "PATCH /customer/settings": {"stale_after_s": 60},
}
"""With these a write does its work; without one it gets ``{}``."""

_FORM = {
    "name": "made",
    "config.url": "https://example.com/hook",
    "config.secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "revision": "1",
}
_ROUTE_FORM = {"name": "made", "integration_id": str(an_id(OURS)), "revision": "1"}
FORMS: dict[str, dict[str, str]] = {
    "POST /customer/devices/new": {"device_id": "made", "site_id": "s"},
    "POST /customer/devices/<device_id>/edit": {"name": "changed", "revision": "1"},
    "POST /customer/devices/<device_id>/commands/new": {"name": "blink"},
    "POST /customer/metrics/<metric>/edit": {"unit": "changed", "revision": "1"},
    "POST /customer/metrics/<metric>/delete": {"confirm": "yes"},
    "POST /customer/integration-routes/new": _ROUTE_FORM,
    "POST /customer/integration-routes/<uuid:route_id>/edit": _ROUTE_FORM,
    "POST /customer/integration-routes/<uuid:route_id>/delete": {"confirm": "yes"},
    "POST /customer/integrations/<channel:type_>/new": _FORM,
    "POST /customer/integrations/<uuid:integration_id>/edit": _FORM,
    "POST /customer/integrations/<uuid:integration_id>/delete": {"confirm": "yes"},
    "POST /customer/users/new": {"username": "made", "role": "customer_viewer", "password": "correct horse battery"},
    "POST /customer/users/<uuid:user_id>/edit": {
        "role": "customer_viewer",
        "email": "changed@example.com",
        "revision": "1",
    },
    "POST /customer/users/<uuid:user_id>/password": {"password": "correct horse battery"},
    "POST /customer/users/<uuid:user_id>/disable": {},
    "POST /customer/users/<uuid:user_id>/enable": {},
    "POST /customer/users/<uuid:user_id>/remove": {"confirm": "yes"},
    "POST /customer/api-tokens/new": {"name": "made", "role": "customer_viewer", "days": "1"},
    "POST /customer/api-tokens/<uuid:token_id>/revoke": {"confirm": "yes"},
    "POST /customer/telemetry/exports/new": {"format": "csv"},
    "POST /customer/settings": {"stale_after_s": "60", "stale_on_disconnect": "lost", "revision": "2"},
    "POST /customer/telemetry/exports/<uuid:export_id>/end": {},
}
"""What pages send instead."""

BEFORE: dict[str, str] = {
    "POST /customer/deliveries/<uuid:delivery_id>/replay": "UPDATE deliveries SET status = 'DEAD'",
    "POST /customer/deliveries/replay": "UPDATE deliveries SET status = 'DELIVERED'",
}
"""What must have happened before that can be done."""

REFERENCES: dict[str, Any] = {
    "POST /customer/alerts/acknowledge": [{"alert_ids": [str(an_id(THEIRS))]}],
    "POST /customer/alerts/close": [{"alert_ids": [str(an_id(THEIRS))]}],
    "POST /customer/integration-routes": [
        {"integration_id": str(an_id(THEIRS))},
        {"integration_id": str(an_id(OURS)), "fallback_integration_id": str(an_id(THEIRS))},
    ],
    "PATCH /customer/integration-routes/<uuid:route_id>": [
        {"integration_id": str(an_id(THEIRS))},
        {"fallback_integration_id": str(an_id(THEIRS))},
    ],
    "POST /customer/deliveries/replay": [
        {"status": "DELIVERED", "integration_id": str(an_id(THEIRS))},
        {"status": None, "delivery_ids": [str(an_id(THEIRS))]},
    ],
}
"""Bodies that name what is another's."""

SAFE_WITHOUT = {
    "GET /customer/events": "it asks no database: what is told in which room, test_events.py shows",
    "GET /customer/channel-types": "it asks the plugins, not the database",
    "GET /customer/integrations/<channel:type_>/new": "as above",
    "POST /customer/integrations/<channel:type_>/new": "it only adds a row, and the tenant is the caller's",
    "POST /customer/integration-routes/new": "as above; the store refuses a foreign integration",
    "POST /customer/integrations": "it only adds a row, and the tenant that it gives it is the caller's",
    "POST /customer/integrations/<channel:type_>": "as above",
    "POST /customer/users": "as above",
    "POST /customer/users/new": "as above",
    "GET /customer/users/new": "it asks no database",
    "POST /customer/devices": "as above",
    "POST /customer/devices/new": "as above",
    "GET /customer/devices/new": "it asks no database",
    "POST /customer/api-tokens": "as above",
    "POST /customer/api-tokens/new": "as above",
    "GET /customer/api-tokens/new": "as above",
    "POST /customer/telemetry/exports": "as above",
    "POST /customer/telemetry/exports/new": "as above",
    "GET /customer/telemetry/exports/new": "it asks no database",
    "POST /customer/devices/<device_id>/commands": "as above; a foreign device is refused by the composite foreign key",
    "POST /customer/devices/<device_id>/commands/new": "as above",
}
"""The routes at which nothing foreign is to be had even with neither guard, and why."""

FOR_PEOPLE_ALONE = {"POST /customer/api-tokens", "POST /customer/api-tokens/new"}
"""What a program, as which everything is called here, is refused whatever it asks for."""


class Seen(NamedTuple):
    """What one route answered to each call, and whether a row of theirs was changed by one."""

    answers: list[Answer]
    changed: bool


def calls(route: Route) -> list[tuple[str, Any]]:
    """For our own, for what is theirs, and with bodies that refer to what is theirs: path and body."""
    body = BODIES.get(str(route), {}) if route.method in {"POST", "PATCH", "PUT"} else None
    found = [(route.path(), body)]
    if route.of_one:
        found.append((route.path(an_id(THEIRS), THEIR_DEVICE), body))
    return found + [(route.path(), body) for body in REFERENCES.get(str(route), [])]


async def look(database: Database, folder: Path, guards: Guards) -> dict[str, Seen]:
    """Call every route of the customer API behind these guards."""
    seen = {}
    async with world(database, folder, guards) as found:
        found.begin_anew()
        before = found.theirs()
        for route in sorted(routes(found.app, "/customer"), key=lambda route: route.method != "GET"):
            answers, changed = [], False
            for path, body in calls(route):
                if route.method != "GET":
                    found.begin_anew(BEFORE.get(str(route), ""))
                    before = found.theirs()
                answers.append(await found.ask(route.method, path, body, FORMS.get(str(route)), route.wanting))
                changed |= found.theirs() != before
            seen[str(route)] = Seen(answers, changed)
    return seen


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody delivers here: no need to wait for it."""
    monkeypatch.setattr(pulse_server.trial, "WAIT_S", 0.0)


@pytest.fixture
async def right(database: Database, tmp_path: Path) -> dict[str, Seen]:
    """What both guards let through."""
    return await look(database, tmp_path, BOTH)


async def test_with_both_guards_each_route_does_its_work_and_shows_nothing_foreign(right: dict[str, Seen]) -> None:
    for name, seen in right.items():
        wanted = [403] if name in FOR_PEOPLE_ALONE else SUCCESS
        assert seen.answers[0].status in wanted, f"{name}: {seen.answers[0]}; what body or past does it need?"
        assert not seen.changed, name
        assert not any(answer.foreign for answer in seen.answers), name
        for answer in seen.answers[1:]:
            assert answer.status == 404 or answer.body == NOTHING_FITS, (name, answer)


@pytest.mark.parametrize("guards", [QUERY_ALONE, POLICY_ALONE], ids=["query", "policy"])
async def test_either_guard_alone_is_as_good_as_both(
    postgres: PostgresServer, tmp_path: Path, right: dict[str, Seen], guards: Guards
) -> None:
    database = postgres.fresh()
    try:
        found = await look(database, tmp_path, guards)
    finally:
        database.drop()
    for name, seen in right.items():
        assert found[name] == seen, name


async def test_without_either_almost_every_route_leaks(
    postgres: PostgresServer, tmp_path: Path, right: dict[str, Seen]
) -> None:
    """The control: what is called here would find what it is meant to find."""
    database = postgres.fresh()
    try:
        found = await look(database, tmp_path, NEITHER)
    finally:
        database.drop()
    assert {name for name in right if found[name] == right[name]} == set(SAFE_WITHOUT) & set(right)
