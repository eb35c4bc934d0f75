"""Every page there is, found by asking the URL map: a page that is added is visited, without a word said here.

Each GET route is asked for as a browser does, by somebody of each role and by nobody, for the things of
:mod:`support.two_tenants` and :mod:`support.lived_in`; what comes as HTML is a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pulse_core.principal import Role
from support import lived_in
from support.browsing import Browser
from support.people import person
from support.rights import OURS, Route, routes

if TYPE_CHECKING:
    from quart import Quart

    from support.browsing import Shown
    from support.database import Database

NOBODY: Final = "nobody"
VISITORS: Final = (str(Role.CUSTOMER_ADMIN), str(Role.CUSTOMER_VIEWER), str(Role.OPERATOR_ADMIN), NOBODY)
"""Whoever looks, by name: users are called as their roles. An operator sees nothing that the admin does not."""

OTHERS: Final = {
    "<device_id>": (lived_in.SHOWN, "valve-05"),
    "<metric>": ("celsius", "rssi_dbm"),
    "<channel:type_>": tuple(lived_in.CHANNELS),
    "<uuid:alert_id>": tuple(str(lived_in.an_id("alert", number)) for number in range(3)),
    "<uuid:integration_id>": tuple(str(lived_in.an_id("integration", number)) for number in range(5)),
    "<uuid:route_id>": (str(lived_in.an_id("route", 3)),),
    "<uuid:delivery_id>": tuple(str(lived_in.an_id("delivery", number)) for number in (0, 1, 3)),
    "<uuid:command_id>": (str(lived_in.an_id("command", 2)),),
    "<uuid:user_id>": (str(lived_in.an_id("user", 3)),),
}
"""What a page is made for besides the one of :func:`~support.two_tenants.an_id`, where a route names that alone."""

QUERIES: Final = {
    NOBODY: ("/live", "/login?notice=logged-out", "/login?next=/customer/devices"),
    str(Role.CUSTOMER_ADMIN): (
        "/customer/devices?limit=5&search=pump&sort=-name",
        "/customer/devices?search=nothing+is+called+so",
        "/customer/alerts?limit=5&status=CLOSED",
        "/customer/alerts?severity=1&status=OPEN&site_id=nowhere",
    ),
}
"""Pages that look different when asked otherwise."""

NOT_OPENED: Final = {
    "/callback": "nobody comes back who did not leave from here",
    "/live": "for this machine alone: among the queries",
    "/live/data.json": "as that",
    "/login/<provider>": "leads elsewhere, where there is a provider elsewhere",
}
_FORMS: Final = {"<channel:type_>": ("/new",), "<uuid:integration_id>": ("/edit",)}
"""Of things that differ by more than their words, these are visited for each, too."""
_ENDLESS: Final = "/events"
_OF_PROGRAMS: Final = "/api/"


class Found(NamedTuple):
    """Paths of pages, by who gets them."""

    pages: dict[str, list[str]]
    few: dict[str, list[str]]
    """One for each route."""
    silent: list[str]
    """Rules that answered nobody."""


async def browsers(app: Quart, database: Database) -> dict[str, Browser]:
    """A browser for each of :data:`VISITORS`, logged in."""
    found = {NOBODY: Browser(app)}
    for role in (Role.CUSTOMER_ADMIN, Role.CUSTOMER_VIEWER, Role.OPERATOR_ADMIN):
        person(database, str(role), role, OURS if role.of_a_tenant else "")
        found[str(role)] = Browser(app)
        assert (await found[str(role)].log_in(str(role))).status == 303
    return found


async def pages(visitors: dict[str, Browser]) -> Found:
    """Ask for everything, as everybody."""
    found, few = ({name: list[str]() for name in visitors} for _ in range(2))
    silent = []
    for route in _asked(visitors[NOBODY].client.app):
        answered = False
        for name, browser in visitors.items():
            got = [(path, await browser.go(path)) for path in _paths(route)]
            answered = answered or any(shown.status in {200, 303} for _, shown in got)
            are_pages = [path for path, shown in got if shown.status == 200 and _is_page(shown)]
            found[name] += are_pages
            few[name] += are_pages[:1]
        if not answered:
            silent.append(route.rule)
    return Found({name: [*paths, *QUERIES.get(name, ())] for name, paths in found.items()}, few, silent)


def _is_page(shown: Shown) -> bool:
    return str(shown.headers["Content-Type"]).startswith("text/html")


def _asked(app: Quart) -> list[Route]:
    """What a browser might go to."""
    return [
        route
        for route in routes(app)
        if route.method == "GET" and route.rule not in NOT_OPENED and not route.rule.startswith(_OF_PROGRAMS)
    ]


def _paths(route: Route) -> list[str]:
    if route.rule.endswith(_ENDLESS):
        return [f"{route.path()}?lasts_s=0"]
    named = [place for place in OTHERS if place in route.rule]
    if len(named) != 1 or not route.rule.endswith((named[0], *_FORMS.get(named[0], ()))) or "<tenant_id>" in route.rule:
        return [route.path()]
    others = [Route("GET", route.rule.replace(named[0], value)).path() for value in OTHERS[named[0]]]
    return list(dict.fromkeys([route.path(), *others]))
