"""Commands over the web API: queued by customers, listed for them and for operators. Roles: test_rights.py."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pulse_core.commands import MAX_PAYLOAD_BYTES, MOST_OPEN
from pulse_core.principal import Role
from pulse_server.inputs.commands import CommandBody
from support.batches import judged, register

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

PATH = "/devices/dev-1/commands"
SENT = "UPDATE device_commands SET status = 'SENT', sent_at = now(), way = 'http' WHERE command_id = %s RETURNING true"
# So that those who queue at once count at the same time, if they can.
_SLOWLY = """
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END $$;
    CREATE TRIGGER slowly BEFORE INSERT ON device_commands FOR EACH ROW EXECUTE FUNCTION slowly();
"""
OVER = (
    "UPDATE device_commands SET created_at = now() - interval '2 h', expires_at = now() - interval '1 h'"
    " WHERE command_id = %s RETURNING true"
)


@pytest.fixture(autouse=True)
def _devices(database: Database, admin: Admin) -> None:
    register(database, "tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1", "tenant-b/theirs")


async def queued(caller: Caller, path: str = PATH, **fields: Any) -> dict[str, Any]:
    status, body, _ = await caller.post(path, {"name": "reboot", **fields})
    assert status == 201, body
    assert isinstance(body, dict)
    return body


async def listed(caller: Caller, path: str) -> list[str]:
    status, body, _ = await caller.get(path)
    assert status == 200, body
    return [each["command_id"] for each in body["items"]]


async def test_a_command_is_queued_and_written_down(customer: Caller, database: Database) -> None:
    made = await queued(customer, name="set:rate", payload={"pin": "1234"}, expires_in_s=60)
    assert {name: made[name] for name in ("tenant_id", "device_id", "name", "payload", "status", "sent_at", "way")} == {
        "tenant_id": "tenant-a",
        "device_id": "dev-1",
        "name": "set:rate",
        "payload": {"pin": "1234"},
        "status": "QUEUED",
        "sent_at": None,
        "way": None,
    }
    assert made["created_by"] == "token:customer_admin of tenant-a"
    rows = judged(database, "SELECT extract(epoch FROM expires_at - created_at)::int FROM device_commands")
    assert rows == [(60,)]
    [line] = judged(
        database,
        "SELECT tenant_id, actor, resource, details FROM audit_log WHERE action = 'device.command'",
    )
    assert line == (
        "tenant-a",
        "token:customer_admin of tenant-a",
        "tenant-a/dev-1",
        {"command_id": made["command_id"], "name": "set:rate", "payload_bytes": 14},
    )
    assert (await customer.get(f"/commands/{made['command_id']}"))[1] == made
    assert (await queued(customer))["payload"] == {}


async def test_no_command_without_its_line(customer: Caller, database: Database) -> None:
    with database.superuser() as hand:
        hand.execute("ALTER TABLE audit_log ADD CHECK (action <> 'device.command')")
    assert (await customer.post(PATH, {"name": "reboot"}))[0] == 503
    assert judged(database, "SELECT FROM device_commands") == []


async def test_lists_newest_first_by_device_and_status(customer: Caller, database: Database) -> None:
    ids = [(await queued(customer, f"/devices/dev-{number}/commands"))["command_id"] for number in (1, 2, 1, 1)]
    judged(database, SENT, ids[0])
    judged(database, SENT, ids[2])
    judged(database, OVER, ids[2])
    assert await listed(customer, "/commands") == [ids[3], ids[1], ids[0], ids[2]]
    assert await listed(customer, PATH) == [ids[3], ids[0], ids[2]]
    assert await listed(customer, "/commands?device_id=dev-2") == [ids[1]]
    for status, found in (("QUEUED", [ids[3], ids[1]]), ("SENT", [ids[0]]), ("EXPIRED", [ids[2]])):
        assert await listed(customer, f"/commands?status={status}") == found, status
    assert await listed(customer, f"{PATH}?status=ACKNOWLEDGED") == []
    expired = (await customer.get(f"/commands/{ids[2]}"))[1]
    assert (expired["status"], expired["way"], expired["acknowledged_at"]) == ("EXPIRED", "http", None)
    assert (await customer.get("/commands?status=DONE"))[0] == 422


async def test_page_by_page(customer: Caller) -> None:
    made = [(await queued(customer))["command_id"] for _ in range(5)]
    seen: list[str] = []
    query = "?limit=2"
    while query:
        _, body, _ = await customer.get(f"{PATH}{query}")
        seen += [each["command_id"] for each in body["items"]]
        query = f"?limit=2&cursor={body['next']}" if body["next"] else ""
    assert seen == made[::-1]


async def test_another_tenants_commands_are_nobodys(customer: Caller, admin: Admin, database: Database) -> None:
    other = await admin.customer("tenant-b")
    theirs = await queued(other)
    ours = await queued(customer)
    assert await listed(customer, "/commands") == [ours["command_id"]]
    assert await listed(other, PATH) == [theirs["command_id"]]
    same = {"X-Request-Id": "same"}
    for method, path, body in (
        ("GET", "/devices/{}/commands", None),
        ("POST", "/devices/{}/commands", {"name": "reboot"}),
    ):
        answers = [
            await customer.call(method, path.format(each), body, headers=same)
            for each in ("theirs", "nobodys", "a%20b", "x" * 200)
        ]
        assert {answer[0] for answer in answers} == {404}
        assert len({json.dumps(answer[1]) for answer in answers}) == 1
    nobodys = theirs["command_id"].translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    answers = [await customer.get(f"/commands/{each}", headers=same) for each in (theirs["command_id"], nobodys)]
    assert answers[0][:2] == answers[1][:2]
    assert len(judged(database, "SELECT FROM device_commands")) == 2


@pytest.mark.parametrize("guard", ["query", "policy"])
async def test_either_guard_suffices(customer: Caller, admin: Admin, database: Database, guard: str) -> None:
    """With the policy switched off the query still names the tenant; a policy that lets nothing through hides all."""
    theirs = (await queued(await admin.customer("tenant-b")))["command_id"]
    ours = (await queued(customer))["command_id"]
    with database.superuser() as hand:
        using = "true" if guard == "query" else "tenant_id = 'tenant-b'"
        hand.execute(f"ALTER POLICY web ON device_commands USING ({using}) WITH CHECK (true)".encode())
    assert await listed(customer, "/commands") == ([ours] if guard == "query" else [])
    assert (await customer.get(f"/commands/{theirs}"))[0] == 404
    assert (await customer.get(f"/commands/{ours}"))[0] == (200 if guard == "query" else 404)


async def test_a_revoked_device_gets_none(customer: Caller, database: Database) -> None:
    judged(database, "UPDATE devices SET revoked_at = now() WHERE device_id = 'dev-1' RETURNING true")
    status, body, _ = await customer.post(PATH, {"name": "reboot"})
    assert (status, body["detail"]) == (409, "the device is revoked")
    assert judged(database, "SELECT FROM device_commands") == []


async def test_a_device_has_so_many_open_commands_at_most(customer: Caller, database: Database) -> None:
    fill = (
        "INSERT INTO device_commands (tenant_id, device_id, name, payload, created_by, expires_at, number)"
        " SELECT 'tenant-a', 'dev-1', 'n', '{}', 'test', now() + interval '1 h', n FROM generate_series(1, %s) AS n"
        " RETURNING command_id"
    )
    ids = judged(database, fill, MOST_OPEN - 2)
    with database.superuser() as hand:
        hand.execute(_SLOWLY)
    made = await asyncio.gather(*(customer.post(PATH, {"name": "reboot"}) for _ in range(8)))
    assert sorted(status for status, _, _ in made) == [201] * 2 + [409] * 6
    await queued(customer, "/devices/dev-2/commands")
    judged(database, OVER, ids[0][0])
    await queued(customer)
    judged(database, SENT, ids[1][0])
    assert (await customer.post(PATH, {"name": "reboot"}))[0] == 409, "a sent one is open still"
    judged(
        database,
        "UPDATE device_commands SET status = 'ACKNOWLEDGED', acknowledged_at = now() WHERE command_id = %s"
        " RETURNING true",
        ids[1][0],
    )
    await queued(customer)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        *(({"name": name}, "name") for name in ("", "a b", "x" * 65, "a/b", "ä", "a\n", "#", "+", 5, None)),
        *(({"name": "n", "expires_in_s": s}, "expires_in_s") for s in (0, -1, 604_801, 1.5, "60", True, None)),
        ({"name": "n", "payload": {"a": "x" * MAX_PAYLOAD_BYTES}}, "payload"),
        ({"name": "n", "payload": "ä" * (MAX_PAYLOAD_BYTES // 2)}, "payload"),
        ({"name": "n", "payload": {"a": ["\0"]}}, "payload.a.0"),
        ({"name": "n", "payload": {"a\0": 1}}, "payload"),
        ({"name": "n", "colour": "red"}, "colour"),
    ],
)
async def test_what_is_wrong_is_named(customer: Caller, database: Database, body: Any, field: str) -> None:
    status, answer, _ = await customer.post(PATH, body)
    assert (status, [each["field"] for each in answer["errors"]]) == (422, [field])
    assert judged(database, "SELECT FROM device_commands") == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name": "n", "payload": "\\ud800"}',
        b'{"name": "n", "payload": NaN}',
        b'{"name": "n", "payload": 1e999}',
        b'{"name": "n", "payload": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"name": "n", "payload": ' + b"9" * 5000 + b"}",
        b'{"name": "n", "payload": "\xff"}',
        b'{"name": "n", "payload": {',
    ],
)
async def test_what_is_no_json_to_store_is_the_callers_fault(customer: Caller, database: Database, raw: bytes) -> None:
    status, _, _ = await customer.call("POST", PATH, data=raw, headers={"Content-Type": "application/json"})
    assert status in {400, 422}
    assert judged(database, "SELECT FROM device_commands") == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(payload=_JSON, name=st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True))
async def test_a_payload_comes_out_as_it_went_in_or_is_refused(customer: Caller, payload: Any, name: str) -> None:
    body = {"name": name, "payload": payload, "expires_in_s": 1}
    raw = json.dumps(body).encode()
    status, answer, _ = await customer.call("POST", PATH, data=raw, headers={"Content-Type": "application/json"})
    assert status in {201, 400, 409, 422}, answer
    if status == 201:
        assert answer["payload"] == payload
        assert answer["name"] == name


@given(st.text(max_size=70))
def test_only_such_names(name: str) -> None:
    allowed = 1 <= len(name) <= 64 and all(each.isascii() and (each.isalnum() or each in "_.:-") for each in name)
    try:
        CommandBody(name=name)
    except ValidationError:
        assert not allowed
    else:
        assert allowed


async def test_the_largest_payload_fits(customer: Caller) -> None:
    payload = "x" * (MAX_PAYLOAD_BYTES - 2)
    assert len(msgspec.json.encode(payload)) == MAX_PAYLOAD_BYTES
    assert (await queued(customer, payload=payload))["payload"] == payload


async def test_operators_see_them_across_tenants(customer: Caller, admin: Admin, database: Database) -> None:
    ours, theirs = await queued(customer), await queued(await admin.customer("tenant-b"))
    judged(database, SENT, theirs["command_id"])
    operator = await admin.operator(Role.OPERATOR)
    assert await listed(operator, "/commands") == [theirs["command_id"], ours["command_id"]]
    assert await listed(operator, "/commands?tenant_id=tenant-a&device_id=dev-1") == [ours["command_id"]]
    assert await listed(operator, "/commands?status=SENT") == [theirs["command_id"]]
    look = "SELECT resource, tenant_id FROM audit_log WHERE action = 'operator.access' ORDER BY at"
    assert judged(database, look) == [
        ("GET /operator/commands", ""),
        ("GET /operator/commands", "tenant-a"),
        ("GET /operator/commands", ""),
    ]
