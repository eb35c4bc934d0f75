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
from pulse_server.web.entrance import session
from pulse_server.web.entrance.principal import authenticate, principal
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_server.notices.hub import Stream

BEAT_S = 15.0
"""After so long without an event a comment is sent: proxies close what is silent."""
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
    services_ = services()
    hub = services_.hub
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
    credentials = "\n".join(request.headers.get(name, "") for name in ("Authorization", "Cookie"))
    check = copy_current_request_context(still_may)

    async def events() -> AsyncIterator[bytes]:
        with (
            hub.joined(reader, tenant_id, abort) as stream,
            services_.watches.joined(credentials, check, stream),
        ):
            yield _greeting(resumed=resumed)
            async for each in _told(stream, lasts_s):
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


async def _told(stream: Stream, lasts_s: float | None) -> AsyncIterator[bytes]:
    """Events, and beats between them, until the stream is over or its time is up."""
    now = asyncio.get_running_loop().time
    ends_at = now() + lasts_s if lasts_s is not None else float("inf")
    while now() < ends_at:
        told = await stream.next(max(0.0, min(BEAT_S, ends_at - now())))
        if told == END:
            return
        if told is not None:
            yield told
        elif now() < ends_at:
            yield _BEAT
