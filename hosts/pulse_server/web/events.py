"""``…/events``: a stream that says what has changed (server-sent events), for as long as its reader may see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import Field
from quart import Response, copy_current_request_context, request
from werkzeug.exceptions import HTTPException

from pulse_core.errors import PulseError
from pulse_server.inputs import Query, TenantId
from pulse_server.notices.hub import END, event
from pulse_server.web import session
from pulse_server.web.principal import authenticate, principal
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pulse_server.notices.hub import Stream

BEAT_S = 15.0
"""After so long without an event a comment is sent: proxies close what is silent."""
CHECK_S = 2.5
"""So often it is looked whether the reader may still see it. What providers remember adds 2 s to that."""
_RETRY_MS = 2000
_BEAT = b": still here\n\n"


class EventQuery(Query):
    """How to listen."""

    lasts_s: float | None = Field(None, ge=0, le=86400)
    """The stream ends after so long; otherwise it goes on."""


class OperatorEventQuery(EventQuery):
    """What to listen to."""

    tenant_id: TenantId | None = None
    """One tenant alone."""


async def stream_of(tenant_id: str | None, lasts_s: float | None) -> Response:
    """Answer with the stream of one tenant, or of all.

    :raises TooMany: this principal has enough of them.
    """
    caller = principal()
    hub = services().hub
    reader = f"{caller.tenant_id or ''} {caller.subject}"
    hub.demand_room(reader)

    async def still_may() -> bool:
        session.look_again()
        try:
            now = await authenticate()
        except (HTTPException, PulseError):  # a token that cannot be checked opens nothing
            return False
        return (now.subject, now.role, now.tenant_id) == (caller.subject, caller.role, caller.tenant_id)

    abort: Any = ((request.scope or {}).get("extensions") or {}).get("pulse.abort")
    resumed = "Last-Event-ID" in request.headers
    check = copy_current_request_context(still_may)

    async def events() -> AsyncIterator[bytes]:
        with hub.joined(reader, tenant_id, abort) as stream:
            yield _greeting(resumed=resumed)
            async for each in _told(stream, check, lasts_s):
                yield each

    body = events() if request.method == "GET" else b""
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    response = Response(body, content_type="text/event-stream", headers=headers)
    response.timeout = None
    return response


def _greeting(*, resumed: bool) -> bytes:
    """What comes first. Whoever was here before may have missed something."""
    first = event("resync", {}) if resumed else event("ready", {})
    return f"retry: {_RETRY_MS}\n\n".encode() + first


async def _told(stream: Stream, check: Callable[[], Awaitable[Any]], lasts_s: float | None) -> AsyncIterator[bytes]:
    """Events and beats, until the stream is over, its reader may not see it any more, or its time is up."""
    now = asyncio.get_running_loop().time
    ends_at = now() + lasts_s if lasts_s is not None else float("inf")
    check_at, beat_at = now() + CHECK_S, now() + BEAT_S
    while now() < ends_at:
        told = await stream.next(max(0.0, min(check_at, beat_at, ends_at) - now()))
        if told == END:
            return
        if now() >= check_at:
            if not await check():
                yield event("over", {})
                return
            check_at = now() + CHECK_S
        if told is not None:
            yield told
            beat_at = now() + BEAT_S
        elif now() >= beat_at:
            yield _BEAT
            beat_at = now() + BEAT_S
