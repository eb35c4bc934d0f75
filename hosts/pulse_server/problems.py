"""Errors as RFC 9457 problem details, for Quart and for bare ASGI alike."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

CONTENT_TYPE = "application/problem+json"


def problem(status: int, detail: str = "", **members: Any) -> bytes:
    """The body of a problem answer: type, title and status always, then what helps the caller.

    :param members: extension members, as ``errors`` or ``request_id``; None is left out.
    """
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail
    body.update((name, value) for name, value in members.items() if value is not None)
    return msgspec.json.encode(body)


def field_errors(error: ValidationError, within: Iterable[str] = ()) -> list[dict[str, str]]:
    """Name each wrong field as a path (``config.url``), without repeating its value: it may be a secret."""
    prefix = tuple(within)
    return [
        {"field": ".".join(str(part) for part in (*prefix, *fault["loc"])), "message": fault["msg"]}
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]
