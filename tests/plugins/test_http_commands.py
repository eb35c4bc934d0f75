"""GET /ingest/v1/tenant/{tenant_id}/device/{device_id}/commands, and acknowledging what was fetched."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.api import DeviceKey, Reason
from pulse_core.commands import CommandStatus
from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_http.app import IngestApp
from pulse_http.config import HttpConfig
from support import asgi
from support.bad_input import IDS
from support.waiting import until

TOKEN = "token-of-device-1"
KEY = DeviceKey("tenant-a", "device-1")
OTHER = DeviceKey("tenant-b", "device-1")
PATH = "/ingest/v1/tenant/tenant-a/device/device-1/commands"
SIGNED = {"x-provision-token": TOKEN}


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake(
        [known_device("tenant-a", "device-1", TOKEN), known_device("tenant-b", "device-1", "another-token")]
    )


@pytest.fixture
def app(intake: FakeIntake) -> IngestApp:
    return IngestApp(intake, HttpConfig(), "http", LogOnly().log)


async def ask(app: IngestApp, path: str = PATH, *, method: str = "GET", token: str = TOKEN) -> asgi.Response:
    response = await asgi.call(app, path, headers={"x-provision-token": token}, method=method)
    assert response is not None
    return response


async def ids(app: IngestApp, path: str = PATH, token: str = TOKEN) -> list[str]:
    response = await ask(app, path, token=token)
    assert response.status == 200, response.body
    return [each["command_id"] for each in response.json()["commands"]]


async def acknowledge(app: IngestApp, command_id: Any, token: str = TOKEN, path: str = PATH) -> asgi.Response:
    return await ask(app, f"{path}/{command_id}/ack", method="POST", token=token)


async def test_a_command_is_given_as_it_was_written(app: IngestApp, intake: FakeIntake) -> None:
    command_id = intake.command_store.queue(KEY, "set:rate", '{"hz": 1e308, "n": 123456789012345678901}')
    response = await ask(app)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    [given_] = response.json()["commands"]
    assert set(given_) == {"command_id", "name", "payload", "created_at", "expires_at"}
    assert (given_["command_id"], given_["name"]) == (str(command_id), "set:rate")
    assert b'{"hz": 1e308, "n": 123456789012345678901}' in response.body
    assert given_["created_at"] < given_["expires_at"]
    assert given_["created_at"].endswith("Z")
    assert intake.command_store.status(command_id) is CommandStatus.SENT


async def test_nothing_is_asked_of_it(app: IngestApp) -> None:
    assert (await ask(app)).json() == {"commands": []}


async def test_it_is_given_again_until_it_is_acknowledged(app: IngestApp, intake: FakeIntake) -> None:
    first, second = (str(intake.command_store.queue(KEY, name)) for name in ("one", "two"))
    assert await ids(app) == [first, second]
    assert await ids(app) == [first, second]
    for _ in range(2):
        response = await acknowledge(app, first)
        assert (response.status, response.json()) == (200, {"status": "acknowledged"})
    assert await ids(app) == [second]
    assert intake.command_store.status(uuid.UUID(first)) is CommandStatus.ACKNOWLEDGED


async def test_nobody_elses_command_exists(app: IngestApp, intake: FakeIntake) -> None:
    mine, theirs, unsent = (intake.command_store.queue(key) for key in (KEY, OTHER, KEY))
    late = intake.command_store.queue(KEY, expires_in_s=-1)
    assert await ids(app, PATH.replace("tenant-a", "tenant-b"), "another-token") == [str(theirs)]
    await ids(app, f"{PATH}?limit=1")
    refused = [await acknowledge(app, each) for each in (theirs, unsent, late, uuid.uuid4(), "x", "%00", "%ff")]
    assert {response.status for response in refused} == {404}
    assert len({response.body for response in refused}) == 1
    assert intake.command_store.status(theirs) is CommandStatus.SENT
    assert (await acknowledge(app, mine)).status == 200


@pytest.mark.parametrize("path", [PATH, f"{PATH}/{uuid.UUID(int=7)}/ack"])
async def test_all_strangers_get_the_same_bytes_and_are_counted(app: IngestApp, intake: FakeIntake, path: str) -> None:
    revoked = known_device("tenant-a", "revoked", TOKEN)
    intake.devices[revoked.key] = msgspec.structs.replace(revoked, revoked=True)
    inactive = known_device("tenant-a", "inactive", None)
    intake.devices[inactive.key] = inactive
    method = "POST" if path.endswith("ack") else "GET"
    seen = []
    for device, token in (
        ("device-1", "wrong"),
        ("device-1", ""),
        ("unknown", TOKEN),
        ("inactive", TOKEN),
        ("revoked", TOKEN),
    ):
        seen.append(await ask(app, path.replace("device-1", device), method=method, token=token))
    assert {(response.status, response.body) for response in seen} == {(401, seen[0].body)}
    assert [outcome.reason for _, outcome in intake.refused] == [
        Reason.TOKEN_INVALID,
        Reason.TOKEN_MISSING,
        Reason.UNREGISTERED_DEVICE,
        Reason.TOKEN_NOT_SET_IN_REGISTRY,
        Reason.DEVICE_REVOKED,
    ]
    assert intake.charged == [], "strangers cannot empty a device's bucket"
    without = await asgi.call(app, path, headers={}, method=method)
    assert without is not None
    assert without.body == seen[0].body


@pytest.mark.parametrize("name", IDS)
async def test_an_id_that_none_can_have(app: IngestApp, intake: FakeIntake, name: str) -> None:
    from urllib.parse import quote

    response = await ask(app, f"/ingest/v1/tenant/tenant-a/device/{quote(IDS[name], safe='')}/commands")
    assert (response.status, response.json()["reason"]) == (400, "BAD_TOPIC_FORMAT")
    assert [outcome.reason for _, outcome in intake.refused] == [Reason.BAD_TOPIC_FORMAT]


async def test_whoever_asks_too_often_is_sent_away(app: IngestApp, intake: FakeIntake) -> None:
    command_id = intake.command_store.queue(KEY)
    assert await ids(app) == [str(command_id)]
    intake.pace_s = lambda _key, _count: 0.2
    for response in (await ask(app), await acknowledge(app, command_id)):
        assert (response.status, response.json()["reason"]) == (429, "RATE_LIMITED")
        assert response.headers["retry-after"]
    assert intake.command_store.takes == 1


@pytest.mark.parametrize("what", ["store_down", "commands"])
async def test_without_a_database_it_is_to_come_again(app: IngestApp, intake: FakeIntake, what: str) -> None:
    command_id = intake.command_store.queue(KEY)
    await ids(app)
    intake.store_down = what == "store_down"
    intake.command_store.down = what == "commands"
    for response in (await ask(app), await acknowledge(app, command_id)):
        assert response.status == 503
        assert response.headers["retry-after"]
    assert intake.command_store.status(command_id) is CommandStatus.SENT


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "limit=-1", "limit=1.5", "limit=", "limit=%00", "limit=%D9%A1", "limit=1&limit=1"),
        *("wait_s=31", "wait_s=-1", "wait_s=nan", "wait_s=1e1", "ack=1", "limit=5&x=", "a&b&c&d&e&f&g&h&i&j&k"),
        "limit=" + "9" * 5000,
    ],
)
async def test_wrong_parameters_are_named(app: IngestApp, intake: FakeIntake, query: str) -> None:
    scope_path = f"{PATH}?{query}"
    response = await ask(app, scope_path)
    assert (response.status, response.json()["reason"]) == (422, "INVALID_FIELD")
    assert not intake.command_store.takes


async def test_other_methods_and_paths(app: IngestApp) -> None:
    answered = [
        await ask(app, path, method=method)
        for method, path in (
            ("POST", PATH),
            ("DELETE", PATH),
            ("GET", f"{PATH}/{uuid.uuid4()}/ack"),
            ("GET", f"{PATH}/{uuid.uuid4()}"),
            ("POST", f"{PATH}/{uuid.uuid4()}/ack/"),
            ("GET", f"{PATH}/"),
        )
    ]
    assert [(each.status, each.headers.get("allow")) for each in answered] == [
        (405, "GET"),
        (405, "GET"),
        (405, "POST"),
        (404, None),
        (404, None),
        (404, None),
    ]


async def test_a_device_may_wait_for_a_command(app: IngestApp, intake: FakeIntake) -> None:
    waiting = asyncio.ensure_future(ids(app, f"{PATH}?wait_s=30"))
    await until(lambda: intake._mailboxes._waiters)
    intake.command_store.queue(OTHER)
    command_id = intake.command_store.queue(KEY)
    async with asyncio.timeout(20):
        assert await waiting == [str(command_id)]
        assert await ids(app, f"{PATH}?wait_s=30") == [str(command_id)], "what is there is not waited for"


async def test_whoever_was_revoked_while_it_waited_gets_nothing(app: IngestApp, intake: FakeIntake) -> None:
    waiting = asyncio.ensure_future(ask(app, f"{PATH}?wait_s=30"))
    await until(lambda: intake._mailboxes._waiters)
    intake.revoke(KEY)
    command_id = intake.command_store.queue(KEY)
    async with asyncio.timeout(20):
        assert (await waiting).status == 401
    assert intake.command_store.status(command_id) is CommandStatus.QUEUED


async def test_who_waits_is_answered_when_the_platform_stops(app: IngestApp, intake: FakeIntake) -> None:
    waiting = asyncio.ensure_future(ids(app, f"{PATH}?wait_s=30"))
    await until(lambda: intake._mailboxes._waiters)
    intake.stopping.set()
    async with asyncio.timeout(20):
        assert await waiting == []
    assert (await ask(app)).status == 503


@given(st.text(max_size=40), st.sampled_from(["{}/commands", "device-1/commands/{}/ack", "device-1/commands?{}"]))
async def test_whatever_stands_in_the_path_is_answered(text: str, shape: str) -> None:
    from urllib.parse import quote

    app = IngestApp(FakeIntake([known_device("tenant-a", "device-1", TOKEN)]), HttpConfig(), "http", LogOnly().log)
    path = "/ingest/v1/tenant/tenant-a/device/" + shape.format(quote(text, safe=""))
    for method in ("GET", "POST"):
        assert (await ask(app, path, method=method)).status < 500
