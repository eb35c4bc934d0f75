"""Headers that operations take and give: conditions on edits, and keys of requests that may come twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulse_server.web.described import Description

_TEXT: dict[str, Any] = {"type": "string"}
_IF_MATCH = 'Edit only what is still that: an `ETag`, or the `revision` in quotes, as `"7"`. Else 412.'
_IF_NONE_MATCH = "An `ETag` that one has: 304 while it is still that."
_KEY = "Names this request: sent again with the same key, it is answered as before, and nothing is done twice."
ETAG: dict[str, Any] = {"ETag": {"description": "Which edit of the object this is.", "schema": _TEXT}}


def taken(method: str, said: Description, *, secured: bool) -> list[dict[str, Any]]:
    """The headers that an operation looks at.

    :param secured: it wants to know who asks.
    """
    found = []
    if said.on_condition:
        found.append(_header("If-None-Match", _IF_NONE_MATCH) if method == "GET" else _header("If-Match", _IF_MATCH))
    if method == "POST" and secured:
        found.append(_header("Idempotency-Key", _KEY, {"type": "string", "pattern": "^[!-~]{1,255}$"}))
    return found


def _header(name: str, text: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema or _TEXT}
