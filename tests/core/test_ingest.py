"""A message's bytes become a reading, or exactly one reason why not."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core import ingest
from pulse_core.errors import Rejected
from pulse_core.records import Device, RawMessage, Reason, Reject
from pulse_core.settings import Settings
from support.memory import START_US, a_device

SETTINGS = Settings()
DAY_US = 86_400_000_000


def raw(payload: bytes, msg_type: str = "telemetry", **changes: Any) -> RawMessage:
    message = RawMessage("tenant-a", "dev-1", msg_type, payload, START_US, "test", authenticated=True)
    return msgspec.structs.replace(message, **changes)


def body(**fields: Any) -> bytes:
    return json.dumps({"site_id": "site-1", **fields}).encode()


def reason_of(message: RawMessage, device: Device | None = a_device()) -> Reason:  # noqa: B008 - frozen
    with pytest.raises(Rejected) as refused:
        ingest.admit(message, device, SETTINGS, START_US)
    return refused.value.reason


def test_a_good_message_becomes_a_reading() -> None:
    message = raw(body(ts="2027-01-15T08:00:00.25Z", seq=7, metrics={"temp": 21.5, "ok": True, "n": 3, "s": "x"}))
    reading = ingest.admit(message, a_device(), SETTINGS, START_US)
    assert reading.ts_us == START_US + 250_000
    assert reading.seq == 7
    assert reading.metrics == {"temp": 21.5, "ok": True, "n": 3, "s": "x"}
    assert [type(value) for value in reading.metrics.values()] == [float, bool, int, str]
    assert json.loads(reading.metrics_json) == reading.metrics
    assert reading.own_ts


def test_a_message_without_ts_has_our_time() -> None:
    reading = ingest.admit(raw(body()), a_device(), SETTINGS, START_US + 3)
    assert (reading.ts_us, reading.own_ts) == (START_US + 3, False)


def test_epoch_milliseconds_and_iso_mean_the_same() -> None:
    iso = ingest.admit(raw(body(ts="2027-01-15T09:00:00+01:00")), a_device(), SETTINGS, START_US)
    naive = ingest.admit(raw(body(ts="2027-01-15T08:00:00")), a_device(), SETTINGS, START_US)
    millis = ingest.admit(raw(body(ts=START_US // 1000)), a_device(), SETTINGS, START_US)
    assert iso.ts_us == naive.ts_us == millis.ts_us == START_US


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.MALFORMED_JSON),
        (b"hello", Reason.MALFORMED_JSON),
        (b"[1, 2]", Reason.MALFORMED_JSON),
        (b"null", Reason.MALFORMED_JSON),
        (b'"text"', Reason.MALFORMED_JSON),
        (b'{"site_id":"site-1"} trailing', Reason.MALFORMED_JSON),
        (b'{"site_id":"site-1","metrics":{"a":NaN}}', Reason.MALFORMED_JSON),
        (b'{"site_id":"site-1","metrics":{"a":Infinity}}', Reason.MALFORMED_JSON),
        (b'{"site_id":"site-1","metrics":{"a":"\\ud800"}}', Reason.MALFORMED_JSON),
        (b'{"site_id":"site-1","metrics":{"a":"\xff"}}', Reason.MALFORMED_JSON),
        (b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", Reason.PAYLOAD_TOO_LARGE),
        (b'{"x":' + b"[" * 4000 + b"]" * 4000 + b"}", Reason.MALFORMED_JSON),
        (b'{"site_id":"site-1","metrics":{"a":1e999}}', Reason.INVALID_FIELD),
        (b'{"site_id":"site-1","metrics":{"a":' + b"9" * 400 + b"}}", Reason.INVALID_FIELD),
        (b'{"site_id":"site-1","metrics":{"a":null}}', Reason.INVALID_FIELD),
        (b'{"site_id":"site-1","metrics":{"a":{"b":1}}}', Reason.INVALID_FIELD),
        (b'{"site_id":"site-1","metrics":{"a":"\\u0000"}}', Reason.INVALID_FIELD),
        (b'{"site_id":"site-1","metrics":[1]}', Reason.INVALID_FIELD),
        (b'{"site_id":5}', Reason.INVALID_FIELD),
        (body(metrics={"a b": 1}), Reason.INVALID_FIELD),
        (body(metrics={"a\n": 1}), Reason.INVALID_FIELD),
        (body(metrics={"": 1}), Reason.INVALID_FIELD),
        (body(metrics={"x" * 65: 1}), Reason.INVALID_FIELD),
        (body(metrics={f"m{n}": n for n in range(65)}), Reason.INVALID_FIELD),
        (body(seq=2**63), Reason.INVALID_FIELD),
        (body(seq="7"), Reason.INVALID_FIELD),
        (body(version="2"), Reason.INVALID_FIELD),
        (body(ts="0000-01-01T00:00:00Z"), Reason.INVALID_FIELD),
        (body(ts="yesterday"), Reason.INVALID_FIELD),
        (body(ts=True), Reason.INVALID_FIELD),
        (body(ts="9999-12-31T23:59:59Z"), Reason.TIMESTAMP_OUT_OF_RANGE),
        (body(ts="9999-12-31T23:59:59-23:59"), Reason.TIMESTAMP_OUT_OF_RANGE),
        (body(ts="0001-01-01T00:00:00+23:59"), Reason.TIMESTAMP_OUT_OF_RANGE),
        (body(ts=1e300), Reason.TIMESTAMP_OUT_OF_RANGE),
        (body(ts=(START_US + 601_000_000) // 1000), Reason.TIMESTAMP_OUT_OF_RANGE),
        (body(ts=(START_US - 91 * DAY_US) // 1000), Reason.TIMESTAMP_OUT_OF_RANGE),
        (b"{}", Reason.MISSING_SITE_ID),
        (b'{"site_id":""}', Reason.MISSING_SITE_ID),
        (b'{"site_id":"site-2"}', Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD),
        (body(tenant_id="tenant-b"), Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD),
        (body(device_id="dev-2"), Reason.INVALID_FIELD),
        (body(metrics={"a": "x" * 9000}), Reason.PAYLOAD_TOO_LARGE),
    ],
)
def test_bad_input_has_its_reason(payload: bytes, reason: Reason) -> None:
    assert reason_of(raw(payload)) is reason


def test_reasons_that_do_not_depend_on_the_payload() -> None:
    assert reason_of(raw(body()), None) is Reason.UNREGISTERED_DEVICE
    assert reason_of(raw(body()), a_device(revoked=True)) is Reason.DEVICE_REVOKED
    suspended = msgspec.structs.replace(a_device(), tenant_active=False)
    assert reason_of(raw(body()), suspended) is Reason.DEVICE_REVOKED
    assert reason_of(raw(body(), "status")) is Reason.UNKNOWN_MESSAGE_TYPE
    assert reason_of(raw(body(), refused=Reason.BAD_TOPIC_FORMAT)) is Reason.BAD_TOPIC_FORMAT


def test_a_backslash_is_not_a_nul() -> None:
    reading = ingest.admit(raw(body(metrics={"path": "C:\\u0000dir"})), a_device(), SETTINGS, START_US)
    assert reading.metrics["path"] == "C:\\u0000dir"


def test_duplicate_keys_take_the_last_value() -> None:
    reading = ingest.admit(
        raw(b'{"site_id":"site-1","metrics":{"a":1},"metrics":{"a":2}}'), a_device(), SETTINGS, START_US
    )
    assert reading.metrics == {"a": 2}


def test_the_hash_tells_type_seq_and_metrics_apart_and_nothing_else() -> None:
    def key(**changes: Any) -> int:
        fields = {"seq": 1, "metrics": {"a": 1}, **changes}
        return ingest.admit(raw(body(**fields)), a_device(), SETTINGS, START_US).key_hash

    assert len({key(), key(seq=2), key(seq=None), key(metrics={"a": 2}), key(metrics={"a": "1"})}) == 5
    assert key() == key(provision_token="other", extra=1)
    event = ingest.admit(raw(body(seq=1, metrics={"a": 1}), "event"), a_device(), SETTINGS, START_US)
    assert event.key_hash != key()


@pytest.mark.parametrize(
    ("device", "token", "reason"),
    [
        (None, "token", Reason.UNREGISTERED_DEVICE),
        (a_device(revoked=True), "token", Reason.DEVICE_REVOKED),
        (a_device(token=None), "token", Reason.TOKEN_NOT_SET_IN_REGISTRY),
        (a_device(), None, Reason.TOKEN_MISSING),
        (a_device(), "", Reason.TOKEN_MISSING),
        (a_device(), "tokeN", Reason.TOKEN_INVALID),
        (a_device(), "\ud800", Reason.TOKEN_INVALID),
    ],
)
def test_tokens(device: Device | None, token: str | None, reason: Reason) -> None:
    with pytest.raises(Rejected) as refused:
        ingest.check_token(device, token, START_US)
    assert refused.value.reason is reason


def test_an_old_token_is_good_for_its_grace_only() -> None:
    rotated = msgspec.structs.replace(
        a_device(token="new"), previous_token_hash=ingest.hash_token("old"), previous_until_us=START_US + 10
    )
    ingest.check_token(rotated, "new", START_US)
    ingest.check_token(rotated, "old", START_US + 9)
    with pytest.raises(Rejected):
        ingest.check_token(rotated, "old", START_US + 10)


def a_reject(payload: bytes, settings: Settings, *, tenant_known: bool = True) -> Reject:
    return ingest.reject(raw(payload), Rejected(Reason.MALFORMED_JSON, "why\0"), settings, tenant_known=tenant_known)


def test_rejects_are_kept_only_in_dev_and_never_with_their_token() -> None:
    payload = body(provision_token="s3cret", note="\0")
    assert (a_reject(payload, Settings(STORE_REJECTS=True, MIRROR_REJECTS_TO_RAW=True)).payload_json) is None
    kept = a_reject(payload, Settings(MODE="DEV", STORE_REJECTS=True))
    assert kept.payload_json is not None
    assert "s3cret" not in kept.payload_json
    assert "\\u0000" not in kept.payload_json
    assert kept.raw is None
    assert a_reject(payload, Settings(MODE="DEV", MIRROR_REJECTS_TO_RAW=True)).raw == payload
    assert (a_reject(payload, SETTINGS, tenant_known=False).tenant_id, kept.source) == ("", raw(payload).source)
    assert "\0" not in kept.detail


@given(st.binary(max_size=300))
def test_any_bytes_are_a_reading_or_a_reason(payload: bytes) -> None:
    try:
        ingest.admit(raw(payload), a_device(), SETTINGS, START_US)
    except Rejected as error:
        a_reject(payload, Settings(MODE="DEV", STORE_REJECTS=True))
        assert error.reason in Reason  # noqa: PT017 - both ways out are right


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["site_id", "ts", "seq", "metrics", "version", "x"]), JSON_VALUES))
def test_any_json_object_is_a_storable_reading_or_a_reason(fields: dict[str, Any]) -> None:
    try:
        reading = ingest.admit(raw(json.dumps({"site_id": "site-1"} | fields).encode()), a_device(), SETTINGS, START_US)
    except Rejected:
        return
    assert abs(reading.ts_us - START_US) <= 90 * DAY_US
    assert all(not isinstance(value, float) or math.isfinite(value) for value in reading.metrics.values())
    assert "\0" not in "".join(value for value in reading.metrics.values() if isinstance(value, str))
