"""Where a file of readings goes on that was left half written: behind its last whole line."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from typing import IO, TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from pulse_core.api import Place
from pulse_core.errors import PermanentFailure
from pulse_server.exporting.encoding import CSV, GUARD, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 1 << 20
_LAST: Final = 2**63 - 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_IN_CSV = re.compile(rb'"|\r\n')
_IN_LINES = re.compile(rb"\n")


class Resumed(Struct, frozen=True):
    """How much of the file stays, and behind which reading it goes on. None: before the first."""

    length: int
    after: Place | None


def resumed(file: IO[bytes], format_: str, head: bytes) -> Resumed:
    """Look at the end of a file.

    A file does not tell readings of one device and moment apart. So those of the last moment go, and come again.

    :param head: with what the file must begin.
    :raises PermanentFailure: it does not begin so, or holds something else than readings.
    """
    length = file.seek(0, io.SEEK_END)
    if length < len(head):
        return Resumed(0, None)
    file.seek(0)
    if file.read(len(head)) != head:
        raise PermanentFailure("this file was written with another format, or with other metrics")
    reach = _BLOCK
    while True:
        begins = max(len(head), length - reach)
        ends = list(_ends(file, format_, len(head), begins))
        if begins == len(head):
            ends.insert(0, len(head))
        if (found := _before_the_last(file, format_, ends)) is not None:
            return found
        if begins == len(head):
            return Resumed(len(head), None)
        reach *= 4


def _ends(file: IO[bytes], format_: str, head: int, begins: int) -> Iterator[int]:
    """Where lines end, behind ``begins``. In CSV, what stands between quotation marks ends none."""
    quoted = False
    pattern = _IN_LINES
    if format_ == CSV:
        pattern = _IN_CSV
        file.seek(head)
        left = begins - head
        while left and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            quoted ^= block.count(b'"') % 2 == 1
    file.seek(begins)
    for mark in pattern.finditer(file.read()):
        if mark[0] == b'"':
            quoted = not quoted
        elif not quoted:
            yield begins + mark.end()


def _before_the_last(file: IO[bytes], format_: str, ends: list[int]) -> Resumed | None:
    """Behind the last line of another moment than the last's; None: there is none between these ends."""
    last: Place | None = None
    for place in range(len(ends) - 1, 0, -1):
        file.seek(ends[place - 1])
        this = _place(file.read(ends[place] - ends[place - 1]), format_)
        if last is not None and this != last:
            return Resumed(ends[place], Place(last.device_id, last.ts_us - 1, _LAST))
        last = this
    return None


def _place(line: bytes, format_: str) -> Place:
    """Just what the line tells: the device and the moment."""
    try:
        if format_ == CSV:
            device_id, ts, *_ = next(csv.reader(io.StringIO(line.decode(), newline="")))
            device_id = device_id.removeprefix(GUARD)
        else:
            said = msgspec.json.decode(line, type=Line)
            device_id, ts = said.device_id, said.ts
        return Place(device_id, (dt.datetime.fromisoformat(ts) - _EPOCH) // dt.timedelta(microseconds=1), 0)
    except (ValueError, TypeError, StopIteration, msgspec.DecodeError) as error:
        raise PermanentFailure("this file holds something else than readings: choose another") from error
