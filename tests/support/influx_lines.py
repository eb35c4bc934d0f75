"""Line protocol, read as InfluxDB 3 reads it, and by nobody who writes it here.

The rules are those of InfluxDB's own parser (influxdb3_core, ``influxdb_line_protocol``), with what surprises in them:
no name and no tag's value may end with a backslash, not even with an escaped one; a backslash before anything that
needs none stays; an empty tag value is an error; NaN and infinity are no numbers; blank lines and comments do not
count when lines are numbered.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["tag", "float", "integer", "uinteger", "string", "boolean", "timestamp"]
Value = float | int | str | bool

LONGEST_TEXT_BYTES = 64 * 1024
BLANKS = " \t\n"
NOT_AT_ALL = "\0"
INTEGERS = {"i": ("integer", -(2**63), 2**63 - 1), "u": ("uinteger", 0, 2**64 - 1)}
SIGNS = re.compile(r'\\.?|[ =,"\n]', re.DOTALL)
WHOLE = re.compile(r"(-?\d+)i|(\d+)u", re.ASCII)
FLOAT = re.compile(r"-?\d+\.\d+[eE][-+]?\d+|-?\d+[eE][-+]?\d+|-?\d+\.\d+|-?\d+", re.ASCII)
TRUTH = re.compile(r"true|True|TRUE|t|T|false|False|FALSE|f|F")
QUOTED = re.compile(r'"((?:\\["\\]|\\(?!["\\])|[^"\\])*)"')
ESCAPED = re.compile(r'\\(["\\])')
STAMP = re.compile(r" +(-?\d+) *", re.ASCII)


class RefusedLineError(Exception):
    """A line is none, or does not fit; the text is for whoever wrote it."""


class Line(Struct, frozen=True):
    """One point as it was written; ``timestamp`` in the unit of the request, None is the server's now."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, tuple[Kind, Value]]
    timestamp: int | None


def split_lines(text: str) -> Iterator[str]:
    """The lines: a newline inside a quoted field, or after a backslash, ends none."""
    quoted = in_fields = False
    opened = start = 0
    for found in SIGNS.finditer(text):
        sign = found[0]
        if sign == " ":
            in_fields = True
        elif in_fields and not quoted and sign in "=,":
            opened += 1 if sign == "=" else -1
        elif in_fields and sign == '"' and opened > 0:
            quoted = not quoted
        elif sign == "\n" and not quoted:
            yield text[start : found.start()]
            start, in_fields, opened = found.end(), False, 0
    yield text[start:]


def written(text: str) -> Iterator[str]:
    """The lines that say something: no blanks before them, no empty ones, no comments."""
    for line in split_lines(text):
        rest = line.lstrip(BLANKS)
        while rest.startswith("#"):
            rest = rest.partition("\n")[2].lstrip(BLANKS)
        if rest:
            yield rest


def parse(line: str) -> Line:
    """One line.

    Raises:
        RefusedLineError: it is none.
    """
    reader = _Reader(line)
    measurement = reader.text(stops="," + NOT_AT_ALL, escapes=", \\")
    if not measurement:
        raise RefusedLineError("Invalid measurement was provided")
    tags = reader.tags() if reader.passes(",") else {}
    if not reader.passes(" "):
        raise RefusedLineError(f"Expected at least one space character, got `{reader.rest}`")
    reader.skip(" ")
    fields = reader.fields()
    timestamp = reader.timestamp()
    if reader.rest:
        raise RefusedLineError(f"Could not parse entire line. Found trailing content: `{reader.rest}`")
    return Line(measurement, tags, fields, timestamp)


class _Reader:
    """A line and how far it was read."""

    def __init__(self, line: str) -> None:
        self.line, self.at = line, 0

    @property
    def rest(self) -> str:
        return self.line[self.at :]

    def passes(self, expected: str) -> bool:
        """Step over one character if it is the expected one."""
        found = self.line.startswith(expected, self.at)
        self.at += found
        return found

    def skip(self, char: str) -> None:
        while self.passes(char):
            pass

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.line, self.at)
        if found:
            self.at = found.end()
        return found

    def text(self, stops: str, escapes: str = "\\,= ") -> str:
        """A name or a tag's value, with its escapes undone."""
        plain = _plain(stops)
        found = self.match(plain)
        parts = [found[0]] if found else []
        while self.passes("\\"):
            after = self.line[self.at : self.at + 1]
            parts.append(after if after and after in escapes else "\\" + after)
            self.at += len(after)
            if found := self.match(plain):
                parts.append(found[0])
        if parts and parts[-1].endswith("\\"):
            raise RefusedLineError("Measurements, tag keys and values, and field keys may not end with a backslash")
        return _short_enough("".join(parts))

    def tags(self) -> dict[str, str]:
        tags: dict[str, str] = {}
        while True:
            begin = self.rest
            key = self.text(stops="=")
            if not key:
                raise RefusedLineError(f"Expected tag key, got `{begin}`")
            if not self.passes("="):
                raise RefusedLineError(f"Tag set malformed: could not find equals sign in `{begin}`")
            value = self.text(stops=",")
            if not value:
                raise RefusedLineError(f"Expected tag value, got `{self.rest}`")
            if key in tags:
                raise RefusedLineError(f'Must not contain duplicate tags, but "{key}" was repeated')
            tags[key] = value
            if not self.passes(","):
                return tags

    def fields(self) -> dict[str, tuple[Kind, Value]]:
        fields: dict[str, tuple[Kind, Value]] = {}
        while True:
            begin = self.at
            key = self.text(stops="=")
            value = self.value() if key and self.passes("=") else None
            if value is None and not fields:
                raise RefusedLineError("No fields were provided")
            if value is None:
                self.at = begin - 1  # what comes after the last field that was one, with its comma
                return fields
            if key in fields:
                raise RefusedLineError(f"invalid line protocol - multiple instances of '{key}' field found")
            fields[key] = value
            if not self.passes(","):
                return fields

    def value(self) -> tuple[Kind, Value] | None:
        if found := self.match(WHOLE):
            return _whole(found[0][:-1], found[0][-1])
        if found := self.match(FLOAT):
            return "float", float(found[0])
        if self.line.startswith('"', self.at):
            return self.quoted()
        if found := self.match(TRUTH):
            return "boolean", found[0][0] in "tT"
        return None

    def quoted(self) -> tuple[Kind, Value] | None:
        """A string field: a backslash escapes itself and the quote, and is itself before anything else."""
        found = self.match(QUOTED)
        return ("string", _short_enough(ESCAPED.sub(r"\1", found[1]))) if found else None

    def timestamp(self) -> int | None:
        found = self.match(STAMP)
        if not found:
            return None
        stamp = int(found[1])
        if not -(2**63) <= stamp < 2**63:
            raise RefusedLineError(f"Unable to parse timestamp value '{found[1]}'")
        return stamp


@cache
def _plain(stops: str) -> re.Pattern[str]:
    """What needs no look at each of its characters."""
    return re.compile(f"[^{re.escape(stops)}{BLANKS}\\\\]+")


def _whole(digits: str, suffix: str) -> tuple[Kind, Value]:
    kind, lowest, highest = INTEGERS[suffix]
    number = int(digits)
    if not lowest <= number <= highest:
        unsigned = "unsigned " if suffix == "u" else ""
        raise RefusedLineError(f"Unable to parse {unsigned}integer value '{digits}'")
    return ("integer" if kind == "integer" else "uinteger"), number


def _short_enough(text: str) -> str:
    if len(text) > LONGEST_TEXT_BYTES // 4 and len(text.encode()) > LONGEST_TEXT_BYTES:
        raise RefusedLineError("String is greater than 64KB")
    return text
