"""Whatever a caller does wrong is a 4xx that says so, on every route, to whoever may call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest_asyncio

from pulse_server import trial
from support import two_tenants
from support.admin import Admin, Caller, admin_api
from support.bad_input import BODIES, GOOD, IDS
from support.callers import everyone
from support.rights import Route, expected, routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from support.database import Database

ODD_HEADERS: list[dict[str, str]] = [
    {"If-Match": '"\xff"', "If-None-Match": '"\xff"'},
    {"If-Match": '"' + "9" * 5000 + '"'},
    {"If-None-Match": "*" * 5000},
    {"Idempotency-Key": "\xff"},
    {"X-Request-Id": "a b\t\xff", "User-Agent": "\xff\x01" * 500},
    {"X-Forwarded-For": "\xff, ,,"},
    {"Content-Type": "application/json; charset=utf-99"},
    {"Content-Type": "multipart/form-data"},
    {"Accept": "\xff", "Accept-Language": "\xff" * 1000, "Cookie": "=;;\xff"},
    {"Range": "bytes=9-1", "Expect": "nothing", "TE": "x"},
]
BAD = ("empty", "cut off", "array", "null", "byte order mark", "not UTF-8", "NUL byte", "lone high surrogate", "NaN",
       "huge integer", "3,000 arrays deep", "escaped NUL in a name")  # fmt: skip
QUERIES = ["limit=0", "limit=x", "cursor=x", "cursor=%00", "%ff=%fe", "limit=1&limit=2", "type=%00", "a" * 5000, "&&==",
           "tenant_id=%F0%9F%99%82", "tenant_id=%00", "q=%ED%A0%80", "confirm=%00"]  # fmt: skip


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Admin]:
    monkeypatch.setattr(trial, "WAIT_S", 0.1)  # nobody delivers here
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


async def let_in(admin: Admin, database: Database) -> list[tuple[Caller, Route]]:
    """Every route, with somebody who may call it."""
    callers = await everyone(admin, database)
    names = ("customer_admin", "operator_admin", "admin key", "nobody")
    found = []
    for route in sorted(routes(admin.client.app), key=lambda route: route.method == "DELETE"):
        name = next((name for name in names if not expected(route, name)), None)
        if name is not None:
            found.append((callers[name], route))
    assert len(found) > 60
    return found


async def ask(caller: Caller, route: Route, path: str, **more: Any) -> None:
    status, body, headers = await Caller(caller.client, "", caller.headers).call(route.method, path, **more)
    assert status < 500, (str(route), path, more, body)
    if status >= 400 and not route.rule.startswith(("/static", "/docs/assets")):
        assert headers["Content-Type"] in {"application/problem+json", "text/plain; charset=utf-8"}, (str(route), body)


async def test_bodies(admin: Admin, database: Database) -> None:
    bodies = [*(BODIES[name][0] for name in BAD), GOOD["emoji"], b"{" + b'"a":{' * 5000]
    for caller, route in await let_in(admin, database):
        if route.method in {"POST", "PATCH"}:
            for body in bodies:
                await ask(caller, route, route.path(), data=body, headers={"Content-Type": "application/json"})


async def test_ids(admin: Admin, database: Database) -> None:
    for caller, route in await let_in(admin, database):
        for odd in IDS.values():
            if "<device_id>" in route.rule:
                await ask(caller, route, route.path(device_id=quote(odd, safe="")))
            if "<tenant_id>" in route.rule:
                await ask(caller, route, route.rule.replace("<tenant_id>", quote(odd, safe="")))
            if "<uuid:" in route.rule:
                path = route.path().replace(str(two_tenants.an_id("tenant-a")), quote(odd, safe=""))
                await ask(caller, route, path)
            if "<channel:" in route.rule:
                await ask(caller, route, route.path().replace("webhook", quote(odd, safe="")))


async def test_queries(admin: Admin, database: Database) -> None:
    for caller, route in await let_in(admin, database):
        for query in QUERIES:
            await ask(caller, route, f"{route.path()}?{query}")


async def test_headers(admin: Admin, database: Database) -> None:
    for caller, route in await let_in(admin, database):
        for odd in ODD_HEADERS:
            await ask(caller, route, route.path(), data=b"{}", headers=odd)
        for scheme in ("Bearer \xff", "Bearer", "Basic \xff", "\xff", "Bearer " + "a.b." * 9000, "Bearer pulse_\xff"):
            await ask(Caller(caller.client, "", {"Authorization": scheme}), route, route.path())
        await ask(Caller(caller.client, "", {"X-Admin-Key": "\xff" * 9000}), route, route.path())
