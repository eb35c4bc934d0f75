"""Health of one process: ``/healthz`` (I run), ``/readyz`` (I can work; else why not), ``/metrics`` (Prometheus).

A bare ASGI app, so that it answers however busy or broken everything behind it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from pulse_core.errors import PulseError
from pulse_server import problems

if TYPE_CHECKING:
    from collections.abc import MutableMapping

Check = Callable[[], "Awaitable[str | None]"]
"""Returns None when all is well, else the reason for people."""

Send = Callable[["MutableMapping[str, Any]"], Awaitable[None]]

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
PATIENCE_S = 3.0

READY = Gauge("pulse_ready", "1 while the role can work, else 0", ["role"])


class Health:
    """Collects the reasons why a process cannot work."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._checks: dict[str, Check] = {}
        self._holds: dict[str, str] = {"start": "starting"}

    def add(self, name: str, check: Check) -> None:
        """Ask ``check`` whenever somebody asks us."""
        self._checks[name] = check

    def hold(self, name: str, reason: str) -> None:
        """Not ready, for this reason, until :meth:`release`."""
        self._holds[name] = reason

    def release(self, name: str) -> None:
        """The reason has gone."""
        self._holds.pop(name, None)

    async def reasons(self) -> dict[str, str]:
        """Why we cannot work now; empty when we can."""
        found = dict(self._holds)
        for name, check in list(self._checks.items()):
            try:
                async with asyncio.timeout(PATIENCE_S):
                    reason = await check()
            except TimeoutError:
                reason = f"no answer within {PATIENCE_S:g} s"
            except PulseError as error:
                reason = str(error)
            if reason:
                found[name] = reason
        READY.labels(self.role).set(0 if found else 1)
        return found

    async def app(self, scope: MutableMapping[str, Any], _receive: Any, send: Send) -> None:
        """Answer one of :data:`PATHS`."""
        if scope["method"] not in {"GET", "HEAD"}:
            await answer(send, 405, problems.problem(405), problems.CONTENT_TYPE, [(b"allow", b"GET, HEAD")])
            return
        path = scope["path"]
        if path == "/metrics":
            await answer(send, 200, generate_latest(), CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            await answer(send, 200, msgspec.json.encode({"status": "ok", "role": self.role}))
        else:
            reasons = await self.reasons()
            body = {"status": "not ready" if reasons else "ready", "role": self.role, "reasons": reasons}
            await answer(send, 503 if reasons else 200, msgspec.json.encode(body))


async def answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: str = "application/json",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Send one whole ASGI response."""
    fixed = [
        (b"content-type", content_type.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": body})
