"""Every path of the customer API: what another tenant gets, and what is said of bad bodies. Roles: test_rights.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pulse_core.principal import Role
from support import two_tenants
from support.admin import Admin, Caller, admin_api
from support.batches import judged
from support.rights import ASKING, NOBODY, OURS, THEIRS, Route, body_for, expected, routes, snapshot
from support.tables import tenant_tables
from support.two_tenants import an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


def of_customers(admin: Admin) -> list[Route]:
    return routes(admin.client.app, "/customer")


@pytest.mark.parametrize("role", [Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN])
async def test_another_tenants_id_is_an_id_that_does_not_exist(admin: Admin, database: Database, role: Role) -> None:
    """To the byte: status, headers, body. What cannot be an id at all names nothing, or is no path of ours."""
    customer = await admin.customer(OURS, role)
    register_device = "INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%s, 'theirs', 's') RETURNING true"
    judged(database, register_device, THEIRS)
    tables = tenant_tables(database)
    before = snapshot(database, tables, f"tenant_id = '{THEIRS}'")
    for route in (each for each in of_customers(admin) if each.of_one):
        theirs, nobodys, *impossible = [
            await to_the_byte(customer, route, route.path(*ids))
            for ids in (
                (an_id(THEIRS), "theirs"),
                (NOBODY, "nobodys"),
                ("00000000-0000-4000-8000-00000000000g", "no%20device%00"),
                ("..%2f..%2f", "x" * 129),
            )
        ]
        assert theirs == nobodys, str(route)
        assert theirs[0] in (expected(route, str(role)) or {404}), str(route)
        for answer in impossible:
            if "<device_id>" in route.rule:
                assert answer == nobodys, str(route)
            else:
                assert answer[0] in {404, *expected(route, str(role))}, (str(route), answer)
    assert snapshot(database, tables, f"tenant_id = '{THEIRS}'") == before


async def to_the_byte(caller: Caller, route: Route, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Everything that is answered, but the date."""
    headers = {**caller.headers, **route.wanting, "X-Request-Id": "the-same"}
    answer = await caller.client.open(path, method=route.method, headers=headers, json=body_for(route))
    kept = sorted((name, value) for name, value in answer.headers.items() if name.lower() != "date")
    return answer.status_code, kept, await answer.get_data(as_text=False)


async def test_a_reference_to_what_is_another_tenants_leads_nowhere(admin: Admin) -> None:
    customer = await admin.customer()
    for body in (
        {"integration_id": str(an_id(THEIRS))},
        {"integration_id": str(an_id(OURS)), "fallback_integration_id": str(an_id(THEIRS))},
    ):
        assert (await customer.post("/integration-routes", body))[0] == 404
        path = f"/integration-routes/{an_id(OURS)}"
        assert (await customer.patch(path, body))[0] == 404
    for query in (f"integration_id={an_id(THEIRS)}", f"alert_id={an_id(THEIRS)}"):
        assert (await customer.get(f"/deliveries?{query}"))[1] == {"items": [], "next": None}
    assert (await customer.post("/deliveries/replay", {"integration_id": str(an_id(THEIRS))}))[1]["count"] == 0


WITHOUT_BODY = (
    *(">/replay", "/cancel", "/test", ">/acknowledge", ">/close"),
    *("/activate-code", "/revoke", "/rotate-token", "/disable", "/enable", "/password", "/end"),
)
"""What needs to be told nothing more than its path."""


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"colour": "red"}', b'{"name": "\\u0000"}', b"\xff"])
async def test_bad_bodies_are_the_callers_fault(admin: Admin, raw: bytes) -> None:
    customer = await admin.customer()
    for route in of_customers(admin):
        if route.method in {"POST", "PATCH"} and not route.rule.endswith(WITHOUT_BODY) and str(route) not in ASKING:
            status, body, headers = await customer.call(
                route.method,
                route.path().removeprefix("/customer"),
                data=raw,
                headers={"Content-Type": "application/json"},
            )
            assert status in {400, 422}, (str(route), body)
            assert headers["Content-Type"] == "application/problem+json"
