"""Every path of the customer API, for every caller: whose it is, what the role may, and what another tenant gets."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pulse_core.principal import Role
from support import two_tenants
from support.admin import Admin, Caller, admin_api
from support.batches import judged
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

OURS, THEIRS = TENANTS
NOBODY = uuid.UUID("00000000-0000-4000-8000-000000000000")
READING = {"GET", "HEAD", "OPTIONS"}


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


def paths(admin: Admin) -> list[tuple[str, str]]:
    """Method and path of every route of the customer API, with ``{id}`` where an id stands."""
    found = []
    for rule in admin.client.app.url_map.iter_rules():
        if rule.rule.startswith("/customer"):
            path = re.sub(r"<uuid:\w+>", "{id}", rule.rule).replace("<channel:type_>", "webhook")
            found += [
                (method, path.removeprefix("/customer")) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            ]
    assert len(found) > 25
    return sorted(found)


BODIES: dict[str, Any] = {
    "PATCH": {"name": "changed"},
    "POST": {},
    "DELETE": None,
    "GET": None,
}


async def test_strangers_operators_and_the_suspended_get_nothing(admin: Admin, database: Database) -> None:
    customer, operator = await admin.customer(), await admin.operator(Role.OPERATOR_ADMIN)
    stranger = Caller(admin.client, "/customer", {"X-Admin-Key": "a key of the tests"})
    for method, path in paths(admin):
        where = path.format(id=an_id(OURS))
        assert (await stranger.call(method, where, BODIES[method]))[0] == 401, (method, path)
        status, _, _ = await Caller(admin.client, "/customer", operator.headers).call(method, where, BODIES[method])
        assert status == 403, (method, path)
    judged(database, "UPDATE tenants SET status = 'SUSPENDED' WHERE tenant_id = %s RETURNING true", OURS)
    for method, path in paths(admin):
        assert (await customer.call(method, path.format(id=an_id(OURS)), BODIES[method]))[0] == 401, (method, path)


async def test_viewers_read_and_do_not_write(admin: Admin, database: Database) -> None:
    viewer = await admin.customer(role=Role.CUSTOMER_VIEWER)
    look = "SELECT to_jsonb(t)::text FROM {} t ORDER BY 1"
    tables = ("integrations", "integration_routes", "deliveries", "alerts", "alert_changes", "audit_log")
    before = [judged(database, look.format(table)) for table in tables]
    for method, path in paths(admin):
        status, _, _ = await viewer.call(method, path.format(id=an_id(OURS)), BODIES[method])
        assert status == (200 if method in READING else 403), (method, path)
    assert [judged(database, look.format(table)) for table in tables] == before


async def test_another_tenants_id_is_an_id_that_does_not_exist(admin: Admin, database: Database) -> None:
    customer = await admin.customer()
    look = "SELECT to_jsonb(t)::text FROM {} t WHERE tenant_id = 'tenant-b' ORDER BY 1"
    tables = ("integrations", "integration_routes", "deliveries", "alerts", "audit_log")
    before = [judged(database, look.format(table)) for table in tables]
    of_one = [(method, path) for method, path in paths(admin) if "{id}" in path]
    for method, path in of_one:
        answers = []
        for object_id in (an_id(THEIRS), NOBODY):
            response = await customer.call(
                method, path.format(id=object_id), BODIES[method], headers={"X-Request-Id": "same"}
            )
            answers.append((response[0], response[1], sorted(response[2].items())))
        assert answers[0] == answers[1], (method, path)
        assert answers[0][0] == 404, (method, path)
    assert [judged(database, look.format(table)) for table in tables] == before


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


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"colour": "red"}', b'{"name": "\\u0000"}', b"\xff"])
async def test_bad_bodies_are_the_callers_fault(admin: Admin, raw: bytes) -> None:
    customer = await admin.customer()
    for method, path in paths(admin):
        if method in {"POST", "PATCH"} and not path.endswith(("}/replay", "/cancel", "/test", "/acknowledge")):
            status, body, headers = await customer.call(
                method, path.format(id=an_id(OURS)), data=raw, headers={"Content-Type": "application/json"}
            )
            assert status in {400, 422}, (method, path, body)
            assert headers["Content-Type"] == "application/problem+json"
