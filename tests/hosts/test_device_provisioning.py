"""What a tenant's admin does with devices over the API, as the tenant's own database role, and their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from pulse_core.principal import Role
from pulse_postgres.tokens import hash_code, hash_token
from support.admin import Admin, Caller, admin_api
from support.batches import judged, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

NEW = {"device_id": "dev-1", "site_id": "north", "name": "One", "labels": {"floor": "2"}, "stale_after_s": 30.0}
CONNECTIONS = """
    INSERT INTO device_connections (tenant_id, connection_id, device_id, source, protocol, address, client_id,
        connected_at, disconnected_at, reason)
    SELECT t, gen_random_uuid(), 'dev-1', 'mqtt', 'mqtts', '192.0.2.7', 'client ' || n, now() - n * interval '1 minute',
        CASE WHEN n > 0 THEN now() END, CASE WHEN n > 0 THEN 'KEEP_ALIVE' END
    FROM unnest(ARRAY['tenant-a', 'tenant-b']) AS t, generate_series(0, 2) AS n RETURNING true
"""


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    register(database, "tenant-a/other", "tenant-b/dev-1")
    async with admin_api(database, tmp_path) as found:
        yield found


async def test_from_registration_to_revocation(customer: Caller, database: Database) -> None:
    status, made, headers = await customer.post("/devices", NEW)
    assert (status, made["tenant_id"], made["activated"], headers["ETag"][:3]) == (201, "tenant-a", False, '"1.')
    assert {name: made[name] for name in NEW} == NEW
    assert (await customer.post("/devices", NEW))[0] == 409
    assert [each["device_id"] for each in (await customer.get("/devices?label=floor:2"))[1]["items"]] == ["dev-1"]

    assert (await customer.post("/devices/dev-1/rotate-token"))[0] == 409, "it was never activated"
    status, first, _ = await customer.post("/devices/dev-1/activate-code")
    status, code, _ = await customer.post("/devices/dev-1/activate-code")
    assert status == 201
    assert judged(database, "SELECT code_hash FROM activation_codes") == [(hash_code(code["code"]),)], "one at a time"
    assert first["code"] != code["code"]

    judged(database, "UPDATE devices SET token_hash = sha256('old') WHERE tenant_id = 'tenant-a' RETURNING true")
    status, granted, _ = await customer.post("/devices/dev-1/rotate-token", {"grace_s": 60})
    assert status == 200
    look = "SELECT token_hash, previous_token_hash FROM devices WHERE tenant_id = 'tenant-a' AND device_id = 'dev-1'"
    ((token, previous),) = judged(database, look)
    assert token == hash_token(granted["token"])
    assert (previous,) == judged(database, "SELECT sha256('old')")[0]
    status, _, _ = await customer.post("/devices/dev-1/rotate-token")
    assert judged(database, look)[0][1] is None, "at once, if nobody says otherwise"

    status, revoked, _ = await customer.post("/devices/dev-1/revoke")
    assert (status, revoked["status"], revoked["activated"]) == (200, "REVOKED", False)
    assert judged(database, look) == [(None, None)]
    for deed in ("activate-code", "rotate-token"):
        assert (await customer.post(f"/devices/dev-1/{deed}"))[0] == 409
    assert judged(database, "SELECT revoked_at FROM devices WHERE tenant_id = 'tenant-b'") == [(None,)]


async def test_what_is_wrong_is_refused(customer: Caller, database: Database) -> None:
    for wrong in (
        {"device_id": "a b"}, {"device_id": "new"}, {"site_id": ""}, {"tenant_id": "tenant-b"}, {"labels": {"a:b": ""}},
        {"stale_after_s": 0},
    ):  # fmt: skip
        status, body, _ = await customer.post("/devices", {**NEW, **wrong})
        assert (status, body["errors"][0]["field"].partition(".")[0]) == (422, next(iter(wrong)))
    for deed in ("activate-code", "rotate-token", "revoke"):
        assert (await customer.post(f"/devices/nothing/{deed}"))[0] == 404
    assert judged(database, "SELECT count(*) FROM devices WHERE tenant_id = 'tenant-a'") == [(1,)]


async def test_a_viewer_does_none_of_it(admin: Admin) -> None:
    viewer = await admin.customer("tenant-a", Role.CUSTOMER_VIEWER)
    for path in ("/devices", *(f"/devices/other/{deed}" for deed in ("activate-code", "rotate-token", "revoke"))):
        assert (await viewer.post(path))[0] == 403


async def test_connections_of_a_device_newest_first(customer: Caller, database: Database) -> None:
    await customer.post("/devices", NEW)
    judged(database, CONNECTIONS)
    status, first, _ = await customer.get("/devices/dev-1/connections?limit=2")
    assert status == 200
    _, rest, _ = await customer.get(f"/devices/dev-1/connections?limit=2&cursor={first['next']}")
    found = [*first["items"], *rest["items"]]
    assert rest["next"] is None
    assert [(each["client_id"], each["reason"]) for each in found] == [
        ("client 0", None), ("client 1", "KEEP_ALIVE"), ("client 2", "KEEP_ALIVE"),
    ]  # fmt: skip
    assert {(each["tenant_id"], each["protocol"], each["address"]) for each in found} == {
        ("tenant-a", "mqtts", "192.0.2.7")
    }
    assert found[0]["disconnected_at"] is None
    assert (await customer.get("/devices/nothing/connections"))[0] == 404
