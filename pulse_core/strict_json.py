"""JSON objects from outside that every reader reads alike."""

from __future__ import annotations

import json
from typing import Any


def json_object(raw: bytes) -> dict[str, Any] | None:
    """Read a JSON object, in UTF-8 (RFC 8259); None for anything else.

    Anything else is also an object in which a name stands twice, at whatever depth (one reader takes the first, another
    the last), one that is nested beyond reason, and numbers that JSON does not have.
    """
    try:
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(constant: str) -> None:
    raise ValueError(constant)
