"""What an HTTP answer means for a delivery."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.errors import EndpointGone, PermanentFailure, TemporaryFailure
from pulse_core.outbound import HttpAnswer
from pulse_core.outbound.answers import LONGEST_RETRY_AFTER_S, retry_after_s

NOW_S = 1_800_000_000.0


def _answer(status: int, body: bytes = b"", **headers: str) -> HttpAnswer:
    return HttpAnswer(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body,
        address="192.0.2.1",
        duration_ms=12,
    )


@given(st.integers(100, 599))
def test_every_status_has_one_meaning(status: int) -> None:
    try:
        _answer(status).raise_for_failure()
    except EndpointGone:
        meaning = "gone"
    except TemporaryFailure:
        meaning = "temporary"
    except PermanentFailure:
        meaning = "permanent"
    else:
        meaning = "delivered"
    if 200 <= status < 300:
        assert meaning == "delivered"
    elif status == 410:
        assert meaning == "gone"
    elif status in (408, 425, 429) or status >= 500:
        assert meaning == "temporary"
    else:
        assert meaning == "permanent"


def _date(seconds: float) -> str:
    return format_datetime(dt.datetime.fromtimestamp(NOW_S + seconds, dt.UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("43200", 43200),
        ("999999999999999999999", LONGEST_RETRY_AFTER_S),
        (_date(90), 90),
        (_date(-90), 0),
        (_date(400 * 86400), LONGEST_RETRY_AFTER_S),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Sun Nov  6 08:49:37 1994", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_and_bounded(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, NOW_S) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(value: str) -> None:
    seconds = retry_after_s(value, NOW_S)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_S


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_temporary_failure_says_when_to_come_back(status: int) -> None:
    with pytest.raises(TemporaryFailure) as caught:
        _answer(status, retry_after="17").raise_for_failure()
    assert caught.value.retry_after_s == 17


def test_a_receipt_is_one_printable_line_of_bounded_length() -> None:
    receipt = _answer(200, b"<h1>\r\n hello\x00\x1b[31m \xff world</h1>" + b"x" * 10_000).receipt
    assert receipt.startswith("HTTP 200 from 192.0.2.1 in 12 ms: <h1> hello [31m \ufffd world</h1>xxx")
    assert receipt.isprintable()
    assert len(receipt) < 4200, "the engine cuts it, when it has taken the secrets out"
    assert len(_answer(200, "\U0001f6a8".encode() * 10_000).receipt) < 4200
    assert _answer(204).receipt == "HTTP 204 from 192.0.2.1 in 12 ms"
