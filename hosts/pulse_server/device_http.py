"""The device HTTP port: hands each request to the ingester whose mount path it starts with, and nothing in between.

Bare ASGI, because a framework on this path costs most of the requests a second that we can take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_server import problems
from pulse_server.health import PATHS, Health, answer

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from pulse_core.api import AsgiApp


class DeviceRouter:
    """The ASGI app of the device HTTP port. Until :meth:`open` it says that we are starting."""

    def __init__(self, health: Health) -> None:
        self._mounts: list[tuple[str, AsgiApp]] = []
        self._health = health
        self._opened = False

    def open(self, mounts: Sequence[tuple[str, AsgiApp]]) -> None:
        """Serve ``mounts``: path prefix (``/ingest``) and app; the longest prefix wins."""
        self._mounts = sorted(((prefix.rstrip("/"), app) for prefix, app in mounts), key=lambda m: -len(m[0]))
        self._opened = True

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Dispatch one request, or one WebSocket."""
        path: str = scope["path"]
        app = self._mounted_at(path)
        if scope["type"] == "websocket":
            if app is not None and getattr(app, "takes_websockets", False):
                await app(scope, receive, send)
            else:
                await self._turn_away(scope, send)
        elif app is not None:
            await app(scope, receive, send)
        elif path in PATHS:
            await self._health.app(scope, receive, send)
        elif not self._opened:
            body = problems.problem(503, "starting; try again")
            await answer(send, 503, body, problems.CONTENT_TYPE, [(b"retry-after", b"1")])
        else:
            body = problems.problem(404, "there is nothing at this path")
            await answer(send, 404, body, problems.CONTENT_TYPE)

    def _mounted_at(self, path: str) -> AsgiApp | None:
        for prefix, app in self._mounts:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"", "/"}:
                return app
        return None

    async def _turn_away(self, scope: MutableMapping[str, Any], send: Any) -> None:
        """Answer a WebSocket that nobody here takes."""
        status, why = (404, "there is no WebSocket at this path") if self._opened else (503, "starting; try again")
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close"})
            return
        body = problems.problem(status, why)
        headers = [
            (b"content-type", problems.CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
