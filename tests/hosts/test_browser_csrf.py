"""What another site makes a browser send changes nothing: for every route of the URL map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pulse_core.principal import Role
from pulse_server.web.entrance import csrf
from support import two_tenants
from support.admin import Admin, Caller, admin_api
from support.browsing import by_cookie
from support.rights import BODIES, OURS, routes, snapshot
from support.tables import tenant_tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

HOST = {"Host": "pulse.example.com"}


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path, demo=True, public_url="https://pulse.example.com") as found:
        yield found


@pytest.fixture
async def callers(admin: Admin, database: Database) -> list[Caller]:
    return [
        await by_cookie(admin.client.app, database, str(role), role, OURS)
        for role in (Role.CUSTOMER_ADMIN, Role.OPERATOR_ADMIN)
    ]


def without_token(caller: Caller, **headers: str) -> Caller:
    kept = {name: value for name, value in caller.headers.items() if name != csrf.HEADER}
    return Caller(
        caller.client, "", {**kept, **HOST, **{name.replace("_", "-"): each for name, each in headers.items()}}
    )


async def test_no_route_does_anything_for_a_cookie_alone(
    admin: Admin, database: Database, callers: list[Caller]
) -> None:
    tables = tenant_tables(database) | {"settings"}
    before = snapshot(database, tables)
    changing = [route for route in routes(admin.client.app) if route.method != "GET"]
    assert len(changing) > 20
    other = await by_cookie(admin.client.app, database, "other", Role.CUSTOMER_ADMIN, OURS)
    before = snapshot(database, tables)
    for caller in callers:
        for tried in (
            without_token(caller),
            without_token(caller, X_CSRF_Token="x"),
            without_token(caller, X_CSRF_Token=other.headers[csrf.HEADER]),
            without_token(caller, X_Admin_Key="x"),
            Caller(caller.client, "", {**caller.headers, **HOST, "Origin": "https://evil.example"}),
            Caller(caller.client, "", {**caller.headers, **HOST, "Sec-Fetch-Site": "same-site"}),
        ):
            for route in changing:
                if "X-Admin-Key" in tried.headers and route.rule.startswith("/api/admin"):
                    continue
                body: Any = BODIES.get(route.method)
                status, answer, _ = await tried.call(route.method, route.path(), body)
                assert status == 403, (str(route), tried.headers, answer)
                for form in ({}, {csrf.FIELD: "x"}):
                    status, answer, _ = await tried.call(route.method, route.path(), form=form)
                    assert status == 403, (str(route), tried.headers, answer)
    assert snapshot(database, tables) == before


async def test_the_token_goes_into_a_header_or_the_form(callers: list[Caller]) -> None:
    caller = callers[0]
    token = caller.headers[csrf.HEADER]
    path = "/customer/deliveries/replay"
    for status, _, _ in [
        await caller.call("POST", path, {}),
        await without_token(caller).call("POST", path, form={csrf.FIELD: token}),
    ]:
        assert status in {200, 415}, "past the guard"
    assert (await without_token(caller).call("POST", path, {csrf.FIELD: token}))[0] == 403, "not in JSON"
    assert (await without_token(caller).call("POST", f"{path}?{csrf.FIELD}={token}", {}))[0] == 403, "nor in an address"


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ({"Origin": "https://pulse.example.com"}, True),
        ({"Origin": "https://pulse.example.com", "Host": "10.0.0.7:8080"}, True),
        ({"Origin": "http://10.0.0.7:8080", "Host": "10.0.0.7:8080"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://pulse.example.com.evil.example"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://pulse.example.com:8443"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
async def test_it_must_come_from_our_own_pages(callers: list[Caller], headers: dict[str, str], fits: bool) -> None:
    tried = Caller(callers[0].client, "", {**callers[0].headers, **HOST, **headers})
    assert ((await tried.call("POST", "/customer/deliveries/replay", {}))[0] != 403) is fits


async def test_programs_need_none(admin: Admin, callers: list[Caller]) -> None:
    token = (await admin.customer(OURS)).headers["Authorization"]
    both = without_token(callers[0], Authorization=token, Origin="https://evil.example")
    assert (await both.call("POST", "/customer/deliveries/replay", {}))[0] == 200
    key = without_token(callers[0], X_Admin_Key="a key of the tests", Origin="https://evil.example")
    assert (await key.call("POST", "/api/admin/tenants", {"tenant_id": "tenant-c"}))[0] == 201


async def test_a_wrong_bearer_token_does_not_let_the_cookie_in(callers: list[Caller]) -> None:
    tried = without_token(callers[0], Authorization="Bearer x")
    assert (await tried.call("POST", "/customer/deliveries/replay", {}))[0] == 401
    tried = without_token(callers[0], Authorization="Basic x")
    assert (await tried.call("POST", "/customer/deliveries/replay", {}))[0] == 403
