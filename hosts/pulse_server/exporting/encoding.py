"""Readings, and numbers in buckets, as text: CSV (RFC 4180) and JSON lines.

Spreadsheets run what begins like a formula. So in CSV, a text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a
line's end gets an apostrophe before it; numbers never do. JSON lines hold every text as it is.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pulse_core.api import SelectedReading

CSV: Final = "csv"
JSONL: Final = "jsonl"
FORMATS: Final = (CSV, JSONL)
MEDIA_TYPES: Final = {CSV: "text/csv; charset=utf-8; header=present", JSONL: "application/jsonl; charset=utf-8"}
COLUMNS: Final = ("device_id", "ts", "site_id", "msg_type", "seq", "received_at")
LINE_END: Final = "\r\n"
GUARD: Final = "'"

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MINUTE_US = 60_000_000
_MINUTES_KNOWN = 4096
_LIKE_A_FORMULA = frozenset("=+-@\t\r\n")
_TRUTHS = {True: "true", False: "false"}


class Line(Struct, frozen=True):
    """A reading, as it stands in a line of JSON."""

    device_id: str
    ts: str
    site_id: str
    msg_type: str
    seq: int | None
    received_at: str
    metrics: dict[str, Any]


class JsonLines:
    """A JSON object a line."""

    head = b""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def encode(self, readings: Iterable[SelectedReading]) -> bytes:
        """Lines of text, each with its end."""
        return self._encoder.encode_lines([line_of(each) for each in readings])


class CsvLines:
    """A line for each reading. Each metric that was asked for has a column; else all of them are one, as JSON.

    :param metrics: those that were asked for; None: none in particular.
    """

    def __init__(self, metrics: Sequence[str] | None) -> None:
        self._metrics = metrics
        self._json = msgspec.json.Encoder()
        self.head = rows([(*COLUMNS, *(("metrics",) if metrics is None else map(guarded, metrics)))])

    def encode(self, readings: Iterable[SelectedReading]) -> bytes:
        """As :meth:`JsonLines.encode`."""
        names, encode = self._metrics, self._json.encode
        lines = []
        for each in readings:
            place, reading = each.place, each.reading
            metrics = reading.metrics
            lines.append(
                (
                    guarded(place.device_id),
                    iso(place.ts_us),
                    guarded(reading.site_id),
                    reading.msg_type,
                    reading.seq,
                    iso(reading.received_us),
                    *((encode(metrics).decode(),) if names is None else [cell(metrics.get(name)) for name in names]),
                )
            )
        return rows(lines)


def lines_of(format_: str, metrics: Sequence[str] | None) -> CsvLines | JsonLines:
    """What writes readings in a format."""
    return CsvLines(metrics) if format_ == CSV else JsonLines()


def line_of(selected: SelectedReading) -> Line:
    """A reading as a line of JSON has it."""
    place, reading = selected.place, selected.reading
    said = reading.site_id, reading.msg_type, reading.seq
    return Line(place.device_id, iso(place.ts_us), *said, iso(reading.received_us), reading.metrics)


def rows(lines: Iterable[Sequence[Any]]) -> bytes:
    """Lines of CSV, in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator=LINE_END).writerows(lines)
    return text.getvalue().encode()


def cell(value: Any) -> Any:
    """What a metric is, as a cell: a number as it is, nothing where there is none."""
    if isinstance(value, str):
        return guarded(value)
    return _TRUTHS[value] if isinstance(value, bool) else value


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return GUARD + text if text and text[0] in _LIKE_A_FORMULA else text


def as_sent(row: Mapping[str, str]) -> dict[str, str]:
    """A row of CSV without what guards against formulas: for texts that cannot begin with an apostrophe, as ids."""
    return {name: value.removeprefix(GUARD) for name, value in row.items()}


def iso(at_us: int) -> str:
    """Microseconds since the epoch as ISO 8601, to the microsecond."""
    minute, rest = divmod(at_us, _MINUTE_US)
    return f"{_minute(minute)}{rest // 1_000_000:02}.{rest % 1_000_000:06}Z"


@lru_cache(maxsize=_MINUTES_KNOWN)
def _minute(minute: int) -> str:
    return f"{(_EPOCH + dt.timedelta(minutes=minute)).replace(tzinfo=None).isoformat(timespec='minutes')}:"
