"""POST /ingest/v1/tenant/{tenant_id}/device/{device_id}/{msg_type}."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.api import COMMITTED, RETRY_LATER, Outcome, Reason, Verdict
from pulse_core.settings import Settings
from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_http.answers import STATUS
from pulse_http.app import IngestApp
from pulse_http.config import HttpConfig
from support import asgi
from support.bad_input import BODIES, GOOD, IDS
from support.waiting import until

TOKEN = "token-of-device-1"
PATH = "/ingest/v1/tenant/tenant-a/device/device-1/telemetry"
SIGNED = {**asgi.JSON, "x-provision-token": TOKEN}
GOOD_BODY = b'{"site_id":"site-1","metrics":{"temperature":21.5}}'


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake([known_device("tenant-a", "device-1", TOKEN), known_device("tenant-a", "not-activated", None)])


@pytest.fixture
def app(intake: FakeIntake) -> IngestApp:
    return IngestApp(intake, HttpConfig(), "http", LogOnly().log)


async def test_a_committed_message_is_answered_with_202(app: IngestApp, intake: FakeIntake) -> None:
    response = await asgi.post(app, PATH, GOOD_BODY, SIGNED)
    assert (response.status, response.json()) == (202, {"status": "accepted"})
    [message] = intake.committed
    assert message.payload == GOOD_BODY
    assert (message.source, message.authenticated, message.may_wait) == ("http", False, False)


async def test_the_token_may_stand_in_the_body(app: IngestApp) -> None:
    body = b'{"site_id":"site-1","provision_token":"%s"}' % TOKEN.encode()
    assert (await asgi.post(app, PATH, body)).status == 202


async def test_a_body_may_come_in_pieces(app: IngestApp, intake: FakeIntake) -> None:
    pieces = [GOOD_BODY[at : at + 3] for at in range(0, len(GOOD_BODY), 3)]
    assert (await asgi.post(app, PATH, pieces, SIGNED)).status == 202
    assert intake.committed[0].payload == GOOD_BODY


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_refused_for_what_it_is(app: IngestApp, intake: FakeIntake, name: str) -> None:
    body, reason = BODIES[name]
    response = await asgi.post(app, PATH, body, SIGNED)
    assert [outcome.reason for _, outcome in intake.refused] == [reason]
    assert (response.status, response.headers["content-type"]) == (STATUS[reason], "application/problem+json")
    assert response.json()["reason"] == reason
    assert response.json()["status"] == response.status
    assert (await asgi.post(app, PATH, GOOD_BODY, SIGNED)).status == 202


@pytest.mark.parametrize("name", GOOD)
async def test_an_odd_body_that_is_right_is_taken(app: IngestApp, name: str) -> None:
    assert (await asgi.post(app, PATH, GOOD[name], SIGNED)).status == 202


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("part", ["tenant", "device"])
async def test_an_id_that_none_can_have_is_a_bad_topic(
    app: IngestApp, intake: FakeIntake, name: str, part: str
) -> None:
    ids = {"tenant": "tenant-a", "device": "device-1", part: quote(IDS[name], safe="")}
    path = f"/ingest/v1/tenant/{ids['tenant']}/device/{ids['device']}/telemetry"
    response = await asgi.post(app, path, GOOD_BODY, SIGNED)
    assert (response.status, response.json()["reason"]) == (400, "BAD_TOPIC_FORMAT")
    assert [outcome.reason for _, outcome in intake.refused] == [Reason.BAD_TOPIC_FORMAT]


@pytest.mark.parametrize("broken", ["%ff", "%c0%af", "%zz", "%", "%0", "%ed%a0%80", "", "a%00b"])
async def test_a_broken_percent_escape_is_a_bad_topic(app: IngestApp, broken: str) -> None:
    response = await asgi.post(app, f"/ingest/v1/tenant/tenant-a/device/{broken}/telemetry", GOOD_BODY, SIGNED)
    assert (response.status, response.json()["reason"]) == (400, "BAD_TOPIC_FORMAT")


async def test_percent_escapes_that_were_not_needed_are_undone(app: IngestApp) -> None:
    path = "/ingest/v1/tenant/tenant%2Da/device/%64evice-1/telemetr%79"
    assert (await asgi.post(app, path, GOOD_BODY, SIGNED)).status == 202


async def test_an_unknown_message_type(app: IngestApp) -> None:
    response = await asgi.post(app, PATH.replace("telemetry", "selfie"), GOOD_BODY, SIGNED)
    assert (response.status, response.json()["reason"]) == (422, "UNKNOWN_MESSAGE_TYPE")


@pytest.mark.parametrize("name", [*BODIES, *GOOD])
async def test_no_body_tells_a_stranger_which_devices_there_are(app: IngestApp, intake: FakeIntake, name: str) -> None:
    """Whatever is judged first, a token or a body: for every device, and for none, it is the same."""
    body = BODIES[name][0] if name in BODIES else GOOD[name]
    revoked = known_device("tenant-a", "revoked", TOKEN)
    intake.devices[revoked.key] = msgspec.structs.replace(revoked, revoked=True)
    devices = ("tenant-a/device/device-1", "tenant-a/device/unknown", "tenant-a/device/revoked", "b/device/d")
    for header in ({**asgi.JSON, "x-provision-token": "wrong"}, asgi.JSON):
        answers = [await asgi.post(app, f"/ingest/v1/tenant/{each}/telemetry", body, header) for each in devices]
        seen = {(each.status, tuple(sorted(each.headers.items())), each.body) for each in answers}
        assert len(seen) == 1, seen
        assert seen.pop()[0] in {400, 401, 413, 422}


async def test_all_strangers_get_the_same_bytes(app: IngestApp, intake: FakeIntake) -> None:
    revoked = known_device("tenant-a", "revoked", TOKEN)
    intake.devices[revoked.key] = msgspec.structs.replace(revoked, revoked=True)
    paths = [
        f"/ingest/v1/tenant/{name}/telemetry"
        for name in (
            "tenant-a/device/device-1",
            "tenant-a/device/unknown",
            "tenant-z/device/device-1",
            "tenant-a/device/not-activated",
            "tenant-a/device/revoked",
        )
    ]
    headers = [{**asgi.JSON, "x-provision-token": "wrong"}, {**asgi.JSON, "x-provision-token": ""}, asgi.JSON]
    bodies = [GOOD_BODY, b'{"site_id":"site-2"}', b'{"tenant_id":"x"}']
    seen = set()
    for path, header, body in itertools.product(paths, headers, bodies):
        response = await asgi.post(app, path, body, header)
        seen.add((response.status, tuple(sorted(response.headers.items())), response.body))
    assert len(seen) == 1
    [(status, sent_headers, _)] = seen
    assert status == 401
    assert "www-authenticate" in dict(sent_headers)
    revoked_too = await asgi.post(app, paths[4], GOOD_BODY, SIGNED)
    assert (revoked_too.status, tuple(sorted(revoked_too.headers.items())), revoked_too.body) in seen
    reasons = {outcome.reason for _, outcome in intake.refused}
    assert reasons == {
        Reason.TOKEN_INVALID,
        Reason.TOKEN_MISSING,
        Reason.UNREGISTERED_DEVICE,
        Reason.TOKEN_NOT_SET_IN_REGISTRY,
        Reason.DEVICE_REVOKED,
    }
    assert not intake.committed


@pytest.mark.parametrize("reason", Reason)
async def test_every_reason_has_an_answer(app: IngestApp, intake: FakeIntake, reason: Reason) -> None:
    intake.script.append(Outcome(Verdict.REJECTED, reason))
    response = await asgi.post(app, PATH, GOOD_BODY, SIGNED)
    assert 400 <= response.status < 500
    assert (response.status == 429) == ("retry-after" in response.headers)
    assert response.json()["detail"]


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonp",
        "application/json;charset=utf-16",
        "multipart/form-data; boundary=x",
    ],
)
async def test_another_content_type_is_not_read(app: IngestApp, intake: FakeIntake, kind: str) -> None:
    response = await asgi.post(app, PATH, GOOD_BODY, {"content-type": kind, "x-provision-token": TOKEN})
    assert response.status == 415
    assert not intake.submissions


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=UTF-8", 'application/json;charset="utf-8"'],
)
async def test_json_may_say_its_charset(app: IngestApp, kind: str) -> None:
    response = await asgi.post(app, PATH, GOOD_BODY, {"content-type": kind, "x-provision-token": TOKEN})
    assert response.status == 202


async def test_no_content_type_and_compressed_bodies_are_not_read(app: IngestApp) -> None:
    assert (await asgi.post(app, PATH, GOOD_BODY, {"x-provision-token": TOKEN})).status == 415
    assert (await asgi.post(app, PATH, GOOD_BODY, {**SIGNED, "content-encoding": "gzip"})).status == 415


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", [PATH, "/ingest/v1/batch"])
async def test_other_methods(app: IngestApp, method: str, path: str) -> None:
    response = await asgi.call(app, path, method=method)
    assert response is not None
    assert (response.status, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path",
    [
        "/ingest",
        "/ingest/",
        "/ingest/v2/batch",
        "/ingest/v1/batch/",
        "/ingest/v1/tenant/a/device/b",
        PATH + "/x/y",
        "/ingest/v1/tenant/a/b/device/c/telemetry",
        "//ingest/v1/batch",
        "/ingest%2Fv1/batch",
    ],
)
async def test_other_paths(app: IngestApp, path: str) -> None:
    response = await asgi.post(app, path, GOOD_BODY, SIGNED)
    assert response.status in (400, 404)
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_body_is_refused_as_soon_as_it_is_too_large(app: IngestApp, intake: FakeIntake) -> None:
    pieces = [b"x" * 1000] * 9
    response = await asgi.call(app, PATH, pieces, SIGNED, ends=False)
    assert response is not None
    assert (response.status, response.headers.get("connection")) == (413, "close")
    [(message, outcome)] = intake.refused
    assert outcome.reason is Reason.PAYLOAD_TOO_LARGE
    assert len(message.payload) <= 10_000


async def test_ten_megabytes(app: IngestApp, intake: FakeIntake) -> None:
    body = [b"x" * 65536] * 160
    declared = {**SIGNED, "content-length": str(10 * 1024 * 1024)}
    response = await asgi.post(app, PATH, body, declared)
    assert (response.status, response.headers.get("connection")) == (413, None)
    assert len(intake.refused[0][0].payload) <= 65536


async def test_the_limit_is_the_live_setting(app: IngestApp, intake: FakeIntake) -> None:
    body = b'{"site_id":"site-1","x":"%s"}' % (b"x" * 9000)
    assert (await asgi.post(app, PATH, body, SIGNED)).status == 413
    intake.settings = Settings(MAX_PAYLOAD_BYTES=10_000)
    assert (await asgi.post(app, PATH, body, SIGNED)).status == 202


async def test_no_room_is_503(app: IngestApp, intake: FakeIntake) -> None:
    intake.script.append(RETRY_LATER)
    response = await asgi.post(app, PATH, GOOD_BODY, SIGNED)
    assert (response.status, response.headers["retry-after"]) == (503, "1")


async def test_no_outcome_in_time_is_503(intake: FakeIntake) -> None:
    app = IngestApp(intake, HttpConfig(outcome_timeout_s=0.05), "http", LogOnly().log)
    intake.hold()
    response = await asgi.post(app, PATH, GOOD_BODY, SIGNED)
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert not intake.pending[0].future.cancelled()
    intake.release()
    assert len(intake.committed) == 1


async def test_an_intake_that_fails_is_503(app: IngestApp, intake: FakeIntake) -> None:
    intake.hold()
    answer = asyncio.ensure_future(asgi.post(app, PATH, GOOD_BODY, SIGNED))
    await until(lambda: intake.pending)
    intake.pending[0].future.set_exception(RuntimeError("a fault of ours"))
    response = await answer
    assert response.status == 503
    assert b"fault" not in response.body


async def test_a_body_that_never_ends_is_408(intake: FakeIntake) -> None:
    app = IngestApp(intake, HttpConfig(body_timeout_s=0.05), "http", LogOnly().log)
    for path in (PATH, "/ingest/v1/batch"):
        response = await asgi.call(app, path, [b"{"], SIGNED, ends=False)
        assert response is not None
        assert (response.status, response.headers["connection"]) == (408, "close")
    assert not intake.submissions


async def test_a_peer_that_leaves_is_not_answered(app: IngestApp, intake: FakeIntake) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
    assert not sent
    assert not intake.submissions


async def test_what_is_being_read_is_bounded_for_all_together(intake: FakeIntake) -> None:
    app = IngestApp(intake, HttpConfig(max_buffered_bytes=4096, body_timeout_s=5), "http", LogOnly().log)
    hoarders = [
        asyncio.ensure_future(asgi.call(app, "/ingest/v1/batch", [b"x" * 2000], asgi.JSON, ends=False))
        for _ in range(2)
    ]
    await asyncio.sleep(0)
    third = await asgi.call(app, "/ingest/v1/batch", [b"x" * 2000, b"y"], asgi.JSON)
    assert third is not None
    assert third.status == 503
    for hoarder in hoarders:
        hoarder.cancel()
    await asyncio.wait(hoarders)
    assert (await asgi.post(app, "/ingest/v1/batch", [b'{"messages"', b":[]}"])).status == 202


async def test_while_stopping_nothing_new_is_taken(app: IngestApp, intake: FakeIntake) -> None:
    intake.stopping.set()
    response = await asgi.post(app, PATH, GOOD_BODY, SIGNED)
    assert (response.status, response.headers["connection"]) == (503, "close")
    assert not intake.submissions


async def test_committed_and_refused_side_by_side(app: IngestApp, intake: FakeIntake) -> None:
    intake.script.extend([COMMITTED, Outcome(Verdict.REJECTED, Reason.INVALID_FIELD, "metrics"), COMMITTED])
    answers = [await asgi.post(app, PATH, GOOD_BODY, SIGNED) for _ in range(3)]
    assert [one.status for one in answers] == [202, 422, 202]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_MESSAGES = st.fixed_dictionaries(
    {"site_id": st.just("site-1") | _JSON},
    optional={"ts": _JSON, "seq": _JSON, "metrics": st.dictionaries(st.text("ab_\0é", max_size=3), _JSON) | _JSON},
)


@given(st.binary(max_size=64) | _MESSAGES.map(lambda message: json.dumps(message).encode()), st.binary(max_size=24))
async def test_whatever_comes_is_answered_and_never_with_a_fault(body: bytes, ident: bytes) -> None:
    intake = FakeIntake([known_device("tenant-a", "device-1", TOKEN)])
    app = IngestApp(intake, HttpConfig(), "http", LogOnly().log)
    assert (await asgi.post(app, PATH, body, SIGNED)).status in (202, 400, 413, 422)
    strange = PATH.replace("device-1", quote(ident, safe=""))
    assert (await asgi.post(app, strange, body, SIGNED)).status in (400, 401)
