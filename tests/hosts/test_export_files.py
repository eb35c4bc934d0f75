"""Readings as text: hostile ones stay what they are, and a half written file goes on where its last whole line ends."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_core.api import Place, SelectedReading, StoredReading
from pulse_core.errors import PermanentFailure
from pulse_server.exporting.encoding import FORMATS, iso, lines_of
from pulse_server.exporting.resuming import resumed

NOW_US = 1_790_000_000_123_456


def selected(device_id: str, ts_us: int, key_hash: int = 1, **metrics: Any) -> SelectedReading:
    return SelectedReading(
        Place(device_id, ts_us, key_hash), StoredReading(ts_us, NOW_US, "telemetry", "site-1", None, metrics)
    )


def cells(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


def test_times_are_exact() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(NOW_US) == "2026-09-21T14:13:20.123456Z"
    assert iso(-1) == "1969-12-31T23:59:59.999999Z"


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_and_none_is_a_formula(text: str) -> None:
    lines = lines_of("csv", ["m"])
    (row,) = cells(lines.encode([selected("d", 5, m=text)]))
    assert row[-1].removeprefix("'" if text[:1] in tuple("=+-@\t\r\n") else "") == text
    assert row[-1][:1] not in tuple("=+-@\t\r\n")
    (line,) = lines_of("jsonl", None).encode([selected("d", 5, m=text)]).decode().split("\n")[:-1]
    assert msgspec.json.decode(line)["metrics"] == {"m": text}


@pytest.mark.parametrize(
    ("value", "cell"), [(-5, "-5"), (1.5, "1.5"), (True, "true"), (False, "false"), (None, ""), ("-5", "'-5")]
)
def test_numbers_and_truths_are_cells(value: Any, cell: str) -> None:
    (row,) = cells(lines_of("csv", ["m"]).encode([selected("-d", 5, m=value)]))
    assert (row[0], row[-1]) == ("'-d", cell)


READINGS = [
    selected("-a", 1, 1, m='x"\r\n"y'),
    selected("-a", 2, 1, m="\r\n,\r\n"),
    selected("-a", 2, 2, m='"'),
    selected("b", 1, 1, m=""),
    selected("b", 5, -4, m='\r\n"'),
    selected("b", 5, 9, m="é"),
]


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=200)
@given(data=st.data())
def test_wherever_a_file_was_cut_it_becomes_whole_again(format_: str, data: st.DataObject) -> None:
    lines = lines_of(format_, None)
    whole = lines.head + lines.encode(READINGS)
    kept = whole[: data.draw(st.integers(0, len(whole)))]
    found = resumed(io.BytesIO(kept), format_, lines.head)
    begun = kept[: found.length] or lines.head
    rest = [each for each in READINGS if found.after is None or each.place > found.after]
    assert begun + lines.encode(rest) == whole
    assert len(rest) < len(READINGS) or len(kept) < len(lines.head + lines.encode(READINGS[:3]))


def test_a_long_file_is_not_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [selected("a", at, m='\r\n"') for at in range(9000)]
    lines = lines_of("csv", ["m"])
    file = io.BytesIO(lines.head + lines.encode(many) + b"a,torn")
    monkeypatch.setattr("pulse_server.exporting.resuming._BLOCK", 1000)
    found = resumed(file, "csv", lines.head)
    assert found.after == Place("a", 8998, 2**63 - 1)
    assert file.getvalue()[: found.length] == lines.head + lines.encode(many[:-1])


def test_another_file_is_left_alone() -> None:
    for text, format_, head in (
        (b"another,head\r\n", "csv", b"device_id,ts\r\n"),
        (b"{}\n[]\n", "jsonl", b""),
        (b"no json\n\n", "jsonl", b""),
    ):
        with pytest.raises(PermanentFailure):
            resumed(io.BytesIO(text), format_, head)
