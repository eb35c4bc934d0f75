"""A receiver's check, against the reference library in both directions, and what it says when it does not fit."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pulse_core.testing.channels import a_notification
from pulse_webhook.signing import signatures
from pulse_webhook.verifying import TOLERANCE_S, Fault, Signed, Verdict, verify

NOW_S = 1_767_323_045
ID = "5b1d3a52-7b33-4f0e-8d59-0f6f3f1c2002"
BODY = a_notification(summary="Grüße 🚨", details={"a": 1.5, "b": [None, True]}).to_json()


def a_secret(seed: bytes) -> str:
    return "whsec_" + base64.b64encode(hashlib.sha256(seed).digest()).decode()


SECRET, OLD_SECRET, WRONG_SECRET = (a_secret(each) for each in (b"new", b"old", b"wrong"))


def signed(body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), at_s: int = NOW_S) -> Signed:
    return Signed(ID, str(at_s), signatures(secrets, ID, at_s, body), body)


def changed(**parts: str | bytes) -> Signed:
    fields = {name: getattr(signed(), name) for name in ("message_id", "timestamp", "signature", "body")}
    return Signed(**{**fields, **parts})


def reference(secret: str, message: Signed) -> bool:
    headers = {
        "webhook-id": message.message_id,
        "webhook-timestamp": message.timestamp,
        "webhook-signature": message.signature,
    }
    try:
        Webhook(secret).verify(message.body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def test_what_is_genuine_is_verified() -> None:
    assert verify(SECRET, signed(), NOW_S) == Verdict(None, "the signature is right", 1, 1)


@given(
    body=st.text().map(str.encode),
    message_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    by=st.lists(st.sampled_from([SECRET, OLD_SECRET, WRONG_SECRET]), min_size=1, max_size=3),
    checked_with=st.sampled_from([SECRET, OLD_SECRET]),
    off_s=st.sampled_from([-400, -200, 0, 200, 400]),
    spoilt=st.booleans(),
)
def test_the_reference_library_judges_the_same(
    body: bytes, message_id: str, by: list[str], checked_with: str, off_s: int, spoilt: bool
) -> None:
    """Signed by us and checked by both; the library's clock is the machine's."""
    now_s = time.time()
    at_s = int(now_s) + off_s
    header = signatures(by, message_id, at_s, body)
    message = Signed(message_id, str(at_s), header, body + b"x" if spoilt else body)
    ours = verify(checked_with, message, now_s).fault is None
    assert ours is reference(checked_with, message)
    assert ours is (checked_with in by and abs(off_s) <= TOLERANCE_S and not spoilt)


@given(body=st.text(), secret=st.binary(min_size=24, max_size=64))
def test_what_the_reference_library_signs_is_verified(body: str, secret: bytes) -> None:
    from datetime import UTC, datetime

    text = "whsec_" + base64.b64encode(secret).decode()
    header = Webhook(text).sign(ID, datetime.fromtimestamp(NOW_S, tz=UTC), body)
    assert verify(text, Signed(ID, str(NOW_S), header, body.encode()), NOW_S).fault is None


@pytest.mark.parametrize(
    ("secret", "matched", "told"),
    [(SECRET, 1, "signature 1 of 2 is right: yours is the newest"), (OLD_SECRET, 2, "the sender has a newer secret")],
)
def test_during_rotation_it_says_which_signature_fits(secret: str, matched: int, told: str) -> None:
    verdict = verify(secret, signed(secrets=(SECRET, OLD_SECRET)), NOW_S)
    assert (verdict.fault, verdict.matched, verdict.of) == (None, matched, 2)
    assert told in verdict.text


PRETTY = json.dumps(json.loads(BODY), indent=2).encode()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (BODY + b"\n", "a line break was added at the end"),
        (BODY + b"\r\n", "a line break was added at the end"),
        (b"\xef\xbb\xbf" + BODY, "a byte order mark"),
        (PRETTY, "parsed and written again"),
        (json.dumps(json.loads(BODY)).encode(), "parsed and written again"),
    ],
)
def test_a_body_that_was_changed_on_the_way_is_told_as_such(body: bytes, told: str) -> None:
    verdict = verify(SECRET, changed(body=body), NOW_S)
    assert verdict.fault is Fault.BODY
    assert told in verdict.text
    assert "verify the very bytes that arrived" in verdict.text


@pytest.mark.parametrize(
    ("sent", "arrived", "told"),
    [(b"a\n", b"a", "at the end of the body is missing"), (b"a\nb", b"a\r\nb", "line breaks were changed")],
)
def test_so_is_one_that_lost_its_line_breaks(sent: bytes, arrived: bytes, told: str) -> None:
    message = signed(sent)
    verdict = verify(SECRET, Signed(message.message_id, message.timestamp, message.signature, arrived), NOW_S)
    assert verdict.fault is Fault.BODY
    assert told in verdict.text


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (WRONG_SECRET, signed()),
        (WRONG_SECRET, signed(secrets=(SECRET, OLD_SECRET))),
        (SECRET, changed(body=BODY.replace(b"pump-7", b"pump-8"))),
        (SECRET, changed(body=b"")),
        (SECRET, changed(body=b"\xff\xfe[")),
        (SECRET, changed(message_id="another")),
        (SECRET, changed(timestamp=str(NOW_S + 1))),
        (WRONG_SECRET, signed(at_s=NOW_S - 9000)),
    ],
)
def test_what_cannot_be_told_apart_is_told_together(secret: str, message: Signed) -> None:
    verdict = verify(secret, message, NOW_S)
    assert verdict.fault is Fault.SIGNATURE
    assert "the secret is another one, or the id, the timestamp or the body" in verdict.text


@pytest.mark.parametrize(
    ("at_s", "fault", "told"),
    [
        (NOW_S - 300, None, ""),
        (NOW_S + 300, None, ""),
        (NOW_S - 301, Fault.TIMESTAMP, "the signature is right, but the timestamp is 301 s old and 300 s are allowed"),
        (NOW_S + 301, Fault.TIMESTAMP, "301 s ahead of our clock"),
    ],
)
def test_a_genuine_message_of_another_time(at_s: int, fault: Fault | None, told: str) -> None:
    verdict = verify(SECRET, signed(at_s=at_s), NOW_S)
    assert (verdict.fault, verdict.matched) == (fault, 1)
    assert told in verdict.text
    assert verify(SECRET, signed(at_s=at_s), NOW_S, tolerance_s=1000).fault is None


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("message_id", "", "webhook-id is empty"),
        ("message_id", "ä", "not ASCII"),
        ("timestamp", "", "webhook-timestamp is not a number"),
        ("timestamp", "2026-01-02T03:04:05Z", "webhook-timestamp is not a number"),
        ("timestamp", "-1", "webhook-timestamp is not a number"),
        ("timestamp", "٣", "webhook-timestamp is not a number"),
        ("timestamp", "9" * 400, "webhook-timestamp is not a number"),
        ("signature", "", "holds no signature of the scheme v1"),
        ("signature", "v1a,x", "holds no signature of the scheme v1"),
        ("signature", "x", "the scheme, a comma, base64"),
        ("signature", "v1,x", "some are missing"),
        ("signature", "v1,ä", "some are missing"),
        ("signature", signed().signature[:-4], "some are missing"),
    ],
)
def test_a_malformed_header_is_named(part: str, value: str, told: str) -> None:
    verdict = verify(SECRET, changed(**{part: value}), NOW_S)
    assert verdict.fault is Fault.HEADER
    assert told in verdict.text


@pytest.mark.parametrize("secret", ["", "hunter2-hunter2", "whsec_!!!", SECRET.removeprefix("whsec_")])
def test_a_malformed_secret_is_not_repeated(secret: str) -> None:
    verdict = verify(secret, signed(), NOW_S)
    assert verdict.fault is Fault.SECRET
    assert not secret or secret not in verdict.text


@given(
    st.text(),
    st.text(),
    st.text(),
    st.binary(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([SECRET, "x"]),
)
def test_whatever_arrives_gets_a_verdict(
    message_id: str, timestamp: str, signature: str, body: bytes, now_s: float, secret: str
) -> None:
    for header in (signature, signed().signature):
        for stamp in (timestamp, str(NOW_S)):
            assert verify(secret, Signed(message_id, stamp, header, body), now_s).fault is not None
