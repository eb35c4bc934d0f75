"""POST /ingest/v1/batch."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.api import COMMITTED, RETRY_LATER, Outcome, Reason, Verdict
from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_http import batches
from pulse_http.app import IngestApp
from pulse_http.config import HttpConfig
from support import asgi
from support.bad_input import BODIES, IDS

TOKEN = "token-of-device-1"
PATH = "/ingest/v1/batch"
_ENVELOPE = {"tenant_id": "tenant-a", "device_id": "device-1", "msg_type": "telemetry", "provision_token": TOKEN}


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake([known_device("tenant-a", "device-1", TOKEN), known_device("tenant-b", "device-1", "another")])


@pytest.fixture
def app(intake: FakeIntake) -> IngestApp:
    return IngestApp(intake, HttpConfig(), "http", LogOnly().log)


def item(**changes: Any) -> bytes:
    """One message of a batch, with its envelope."""
    return json.dumps(_ENVELOPE | {"site_id": "site-1"} | changes).encode()


def batch(*items: bytes) -> bytes:
    return b'{"messages": [' + b", ".join(items) + b"]}"


async def test_a_batch_is_committed_and_counted(app: IngestApp, intake: FakeIntake) -> None:
    items = [item(seq=seq) for seq in range(100)]
    response = await asgi.post(app, PATH, batch(*items))
    assert response.status == 202
    assert response.json() == {
        "accepted": 100,
        "rejected": 0,
        "results": [{"index": index, "status": "accepted"} for index in range(100)],
    }
    assert [message.payload for message in intake.committed] == items
    assert len(intake.submissions) == 1


async def test_devices_of_several_tenants_in_one_batch(app: IngestApp, intake: FakeIntake) -> None:
    other = item(tenant_id="tenant-b", provision_token="another")
    response = await asgi.post(app, PATH, batch(item(), other))
    assert response.json()["accepted"] == 2
    assert {message.tenant_id for message in intake.committed} == {"tenant-a", "tenant-b"}


async def test_each_message_is_judged_by_itself(app: IngestApp) -> None:
    items = [
        item(),
        b'"a string"',
        item(provision_token="wrong"),
        item(site_id="site-9"),
        item(device_id="unknown"),
        item(msg_type="selfie"),
        item(tenant_id=7),
        item(provision_token=7),
        b'{"site_id":"site-1"}',
        item(site_id="site-9", provision_token="wrong"),
        item(seq=2),
    ]
    response = await asgi.post(app, PATH, batch(*items))
    assert response.status == 202
    body = response.json()
    assert (body["accepted"], body["rejected"]) == (2, 9)
    assert [result.get("reason") for result in body["results"]] == [
        None,
        "MALFORMED_JSON",
        "UNAUTHORIZED",
        "SITE_MISMATCH_REGISTRY_VS_PAYLOAD",
        "UNAUTHORIZED",
        "UNKNOWN_MESSAGE_TYPE",
        "BAD_TOPIC_FORMAT",
        "INVALID_FIELD",
        "BAD_TOPIC_FORMAT",
        "UNAUTHORIZED",
        None,
    ]


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_message_costs_no_neighbour(app: IngestApp, intake: FakeIntake, name: str) -> None:
    raw, reason = BODIES[name]
    ours = json.dumps(_ENVELOPE).encode()[:-1] + b","
    bad = raw.replace(b'{"', ours + b'"', 1) if raw.startswith(b'{"') else raw
    response = await asgi.post(app, PATH, batch(item(seq=1), bad, item(seq=2)))
    apart = response.status == 202
    whole = response.status == 400 and name in _TEARS_THE_BATCH
    assert apart or whole, response.body
    if apart:
        assert [json.loads(message.payload)["seq"] for message in intake.committed] == [1, 2]
        assert len(intake.refused) == 1
        if name not in _ANOTHER_DEVICE and bad is not raw:
            assert intake.refused[0][1].reason in (reason, Reason.MALFORMED_JSON)


_ANOTHER_DEVICE = {"another tenant", "another device"}
"""In a batch the body itself names the device: here one whose token it does not bring."""
_TEARS_THE_BATCH = {"cut off", "3,000 levels, never closed"}
"""What opens a bracket or a quote and does not close it leaves nothing by which to tell its neighbours."""


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("part", ["tenant_id", "device_id"])
async def test_an_id_that_none_can_have(app: IngestApp, intake: FakeIntake, name: str, part: str) -> None:
    response = await asgi.post(app, PATH, batch(item(seq=1), item(**{part: IDS[name]}), item(seq=2)))
    assert response.json()["results"][1] == {"index": 1, "status": "rejected", "reason": "BAD_TOPIC_FORMAT"}
    assert len(intake.committed) == 2


async def test_no_room_for_some_is_503_for_the_whole(app: IngestApp, intake: FakeIntake) -> None:
    intake.script.extend([COMMITTED, RETRY_LATER, Outcome(Verdict.REJECTED, Reason.INVALID_FIELD)])
    response = await asgi.post(app, PATH, batch(item(seq=1), item(seq=2), item(seq=3)))
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    body = response.json()
    assert (body["accepted"], body["rejected"]) == (1, 1)
    assert [result["status"] for result in body["results"]] == ["accepted", "retry", "rejected"]


async def test_an_empty_batch(app: IngestApp) -> None:
    response = await asgi.post(app, PATH, b'{"messages":[]}')
    assert (response.status, response.json()) == (202, {"accepted": 0, "rejected": 0, "results": []})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"x", 400),
        (b"[]", 400),
        (b"[" * 10_000, 400),
        (b'{"messages":[', 400),
        (b'{"messages":[NaN}', 400),
        (b'{"messages":[NaN]', 400),
        (b'{"messages":NaN}', 400),
        (b'{"other":[NaN]}', 400),
        (b'"messages":[NaN]', 400),
        (b'{"x":{"messages":[NaN]}}', 400),
        (b"\xff", 400),
        (b"{}", 422),
        (b'{"messages":{}}', 422),
        (b'{"messages":"all of them"}', 422),
        (b'{"messages":null}', 422),
    ],
)
async def test_what_is_no_batch(app: IngestApp, intake: FakeIntake, body: bytes, status: int) -> None:
    response = await asgi.post(app, PATH, body)
    assert (response.status, response.headers["content-type"]) == (status, "application/problem+json")
    assert not intake.submissions


async def test_at_most_a_thousand_messages(app: IngestApp, intake: FakeIntake) -> None:
    assert (await asgi.post(app, PATH, batch(*[b"1"] * 1000))).status == 202
    assert (await asgi.post(app, PATH, batch(*[b"1"] * 1001))).status == 413
    assert (await asgi.post(app, PATH, batch(*[b"NaN"] * 1001))).status == 413
    assert len(intake.submissions) == 1


async def test_at_most_a_megabyte(app: IngestApp, intake: FakeIntake) -> None:
    piece = b" " * 65536
    declared = {**asgi.JSON, "content-length": str(160 * 65536)}
    response = await asgi.post(app, PATH, [piece] * 160, declared)
    assert (response.status, "connection" in response.headers) == (413, False)
    response = await asgi.post(app, PATH, [piece] * 17)
    assert (response.status, response.headers["connection"]) == (413, "close")
    response = await asgi.post(app, PATH, [piece] * 15 + [batch(item())])
    assert response.status == 202
    assert len(intake.submissions) == 1


async def test_the_rough_way_costs_no_more_than_it_must(app: IngestApp) -> None:
    """A stranger's megabyte of brackets or quotes, made to take the long way, is answered soon."""
    for filler in (b"[],", b'"\\",', b'"', b"{[", b",", b"\\"):
        body = b'{"messages":[NaN,' + filler * (1_000_000 // len(filler)) + b"]}"
        before_s = time.process_time()
        response = await asgi.post(app, PATH, body)
        assert response.status in (202, 400, 413)
        assert time.process_time() - before_s < 2


_SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)


@given(st.lists(_VALUES, max_size=5), st.dictionaries(st.text().filter(lambda key: key != "messages"), _VALUES))
def test_the_rough_way_cuts_where_json_does(messages: list[Any], rest: dict[str, Any]) -> None:
    body = json.dumps(rest | {"messages": messages}).encode()
    rough = batches.split_roughly(body, 1000)
    assert rough is not None
    assert [json.loads(piece) for piece in rough] == messages


@given(st.binary(max_size=200) | st.text('{}[]",:\\messagNa1', max_size=60).map(str.encode))
def test_the_rough_way_never_fails(body: bytes) -> None:
    batches.split_roughly(body, 1000)
    batches.split_roughly(b'{"messages":[' + body + b"]}", 1000)
