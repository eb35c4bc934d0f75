"""Every route of the web application for every caller, from the URL map itself: see ``support/rights.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

import pulse_server.trial
from pulse_core.principal import Role
from support import two_tenants
from support.admin import Admin, admin_api
from support.batches import judged
from support.callers import everyone
from support.rights import BY_COOKIE, OPERATORS, QUERIES, READERS, RIGHTS, ask, expected, routes, snapshot
from support.tables import tenant_tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    """With everything that there is: the demo's pages, too."""
    two_tenants.fill(database)
    async with admin_api(database, tmp_path, demo=True) as found:
        yield found


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody delivers here: no need to wait for what becomes of a test."""
    monkeypatch.setattr(pulse_server.trial, "WAIT_S", 0.0)


async def test_every_route_says_who_may_call_it(admin: Admin) -> None:
    assert sorted(map(str, routes(admin.client.app))) == sorted(RIGHTS)


async def test_whoever_may_not_is_refused_and_changes_nothing(admin: Admin, database: Database) -> None:
    callers = await everyone(admin, database)
    tables = tenant_tables(database) - {"audit_log"} | {"settings"}
    before = snapshot(database, tables)
    for route in routes(admin.client.app):
        for name, caller in callers.items():
            if refusal := expected(route, name):
                status, body, _ = await ask(caller, route)
                assert {status} == refusal, (str(route), name, body)
    assert snapshot(database, tables) == before


@pytest.mark.parametrize("name", [*Role, *(f"{role}{BY_COOKIE}" for role in Role), "admin key"])
async def test_whoever_may_is_let_in(admin: Admin, database: Database, name: str) -> None:
    caller = (await everyone(admin, database))[name]
    found = [route for route in routes(admin.client.app) if not expected(route, name)]
    if BY_COOKIE in name:  # nobody delivers here, and waiting for that once is enough
        found = [route for route in found if not route.rule.endswith("/test")]
    assert len(found) > 10
    for route in sorted(found, key=lambda route: (route.rule == "/logout", route.method == "DELETE")):
        status, body, _ = await ask(caller, route, headers=route.wanting)
        assert status not in {401, 403, 405}, (str(route), body)
        assert status < 500, (str(route), body)
        if route.method == "GET":
            assert status == 200, (str(route), body)


async def test_of_a_suspended_tenant_nobody_is_let_in(admin: Admin, database: Database) -> None:
    callers = await everyone(admin, database)
    judged(database, "UPDATE tenants SET status = 'SUSPENDED' RETURNING true")
    for route in routes(admin.client.app):
        for name in ("customer_viewer", "customer_admin", *(f"{role}{BY_COOKIE}" for role in READERS)):
            if isinstance(RIGHTS[str(route)], frozenset):
                assert (await ask(callers[name], route))[0] == 401, str(route)


WATCHED = {
    "/operator": ("operator.access", [*OPERATORS, *(f"{role}{BY_COOKIE}" for role in OPERATORS)]),
    "/api/admin": ("admin.access", ["admin key"]),
}
"""Where one looks across tenants, what the audit log calls it, and who may."""


@pytest.mark.parametrize("prefix", WATCHED)
async def test_nobody_sees_or_does_anything_across_tenants_that_is_not_written_down_first(
    admin: Admin, database: Database, prefix: str
) -> None:
    callers = await everyone(admin, database)
    action, names = WATCHED[prefix]
    with database.superuser() as hand:
        hand.execute(f"ALTER TABLE audit_log ADD CHECK (action <> '{action}')".encode())
    before = snapshot(database, tenant_tables(database) | {"settings"})
    for route in routes(admin.client.app, prefix):
        for name in names:
            status, body, _ = await ask(callers[name], route, broken=True)
            assert status == 503, (str(route), name)
            assert set(body) == {"type", "title", "status", "detail", "request_id"}, (str(route), body)
            assert "tenant-" not in str(body), (str(route), body)
    assert snapshot(database, tenant_tables(database) | {"settings"}) == before


@pytest.mark.parametrize(
    ("prefix", "name", "actor"),
    [("/operator", "operator", "token:operator of None"), ("/api/admin", "admin key", "admin-key")],
)
async def test_each_access_across_tenants_has_a_line_that_says_of_whom(
    admin: Admin, database: Database, prefix: str, name: str, actor: str
) -> None:
    caller = (await everyone(admin, database))[name]
    found = [route for route in routes(admin.client.app, prefix) if not expected(route, name)]
    for route in found:
        await ask(caller, route, headers={"X-Request-Id": "this-one", "User-Agent": "a program\tof ours"})
    look = (
        "SELECT resource, tenant_id, actor, address, agent, request_id FROM audit_log"
        " WHERE action = %s AND request_id = 'this-one'"
    )
    assert sorted(judged(database, look, WATCHED[prefix][0])) == sorted(
        (
            f"{route.method} {route.path()}",
            "tenant-a" if "<tenant_id>" in route.rule or str(route) in QUERIES else "",
            actor,
            "<local>",
            "a program?of ours",
            "this-one",
        )
        for route in found
    )
