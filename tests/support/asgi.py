"""Calls an ASGI app as a server would, without the server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from support.openapi import contract

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from pulse_core.api import AsgiApp


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


JSON = {"content-type": "application/json"}


async def call(
    app: AsgiApp,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] = JSON,
    *,
    method: str = "POST",
    ends: bool = True,
) -> Response | None:
    """One request; ``path`` is as on the wire. A sequence is a body in pieces; not ``ends``: the rest never comes.

    None when the app answers nothing. What it answers must be what the OpenAPI document allows.
    """
    pieces = [body] if isinstance(body, bytes) else list(body)
    sent: list[MutableMapping[str, Any]] = []
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }

    async def receive() -> MutableMapping[str, Any]:
        if not pieces:
            await asyncio.Event().wait()
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces) or not ends}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    start, end = sent
    assert start["type"] == "http.response.start"
    assert end["type"] == "http.response.body"
    names = [name for name, _ in start["headers"]]
    assert len(names) == len(set(names))
    response_headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert response_headers["content-length"] == str(len(end["body"]))
    contract().check(method, path, start["status"], response_headers["content-type"], end["body"])
    return Response(start["status"], response_headers, end["body"])


async def post(app: AsgiApp, path: str, body: bytes | Sequence[bytes], headers: Mapping[str, str] = JSON) -> Response:
    """POST, and be answered."""
    response = await call(app, path, body, headers)
    assert response is not None
    return response
