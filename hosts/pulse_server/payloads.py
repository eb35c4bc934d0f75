"""Payloads of strangers, as text that people can read: JSON set out, text as it is, all else as bytes. Bounded.

What cannot be seen, or turns the reading around, is written out; a device's token is not shown.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal

from msgspec import Struct

MOST_CHARACTERS: Final = 4000
MOST_BYTES: Final = 1024
"""Of what is shown as bytes."""
_A_LINE: Final = 16
_TOKEN = re.compile(rb'("provision_token"\s*:\s*")[^"]*')
_UNPARSED: Final = "unparsed"


class Readable(Struct, frozen=True):
    """A payload to read."""

    kind: Literal["JSON", "text", "bytes", "nothing"]
    text: str = ""
    cut: bool = False
    """There is more than is shown."""


def readable(payload: Any, raw: bytes | None) -> Readable:
    """A refused message's payload: parsed, or the bytes where there is no better."""
    text = _unparsed(payload)
    if text is not None:
        return _bytes_or_text(text.encode() if raw is None else raw)
    if payload is not None:
        return _json(payload)
    return Readable("nothing") if raw is None else _json_or_bytes(raw)


def visible(text: str) -> str:
    """A text of a stranger in which every character can be seen: the others by their numbers, line ends too."""
    return "".join(_seen(each) for each in text)


def _unparsed(payload: Any) -> str | None:
    """What was kept of a payload that is no JSON."""
    text = payload.get(_UNPARSED) if isinstance(payload, dict) and len(payload) == 1 else None
    return text if isinstance(text, str) else None


def _json_or_bytes(raw: bytes) -> Readable:
    masked = _masked(raw)
    try:
        return _json(json.loads(masked))
    except (ValueError, RecursionError):
        return _bytes_or_text(raw)


def _json(value: Any) -> Readable:
    """Set out, as far as it is shown: what is longer is not even written."""
    pieces, length = [], 0
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        pieces.append(piece)
        length += len(piece)
        if length > MOST_CHARACTERS:
            break
    return _cut("JSON", "".join(pieces))


def _bytes_or_text(raw: bytes) -> Readable:
    masked = _masked(raw)
    try:
        text = masked.decode()
    except UnicodeDecodeError:
        return _dumped(masked)
    if any(not (each.isprintable() or each in "\r\n\t") for each in text):
        return _dumped(masked)
    return _cut("text", text)


def _masked(raw: bytes) -> bytes:
    return _TOKEN.sub(rb"\1********", raw)


def _cut(kind: Literal["JSON", "text"], text: str) -> Readable:
    shown = "".join(each if each == "\n" else _seen(each) for each in text[:MOST_CHARACTERS].replace("\t", "    "))
    return Readable(kind, shown, len(text) > MOST_CHARACTERS)


def _seen(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode-escape").decode()


def _dumped(raw: bytes) -> Readable:
    """Sixteen bytes a line: where, in hexadecimal, and what of it is ASCII."""
    lines = []
    for at in range(0, min(len(raw), MOST_BYTES), _A_LINE):
        part = raw[at : at + _A_LINE]
        ascii_ = "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in part)  # noqa: PLR2004 - printable ASCII
        lines.append(f"{at:04x}  {part.hex(' '):<{3 * _A_LINE - 1}}  {ascii_}")
    return Readable("bytes", "\n".join(lines), len(raw) > MOST_BYTES)
