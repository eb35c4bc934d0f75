"""``/``: in the demo, seen from this machine, the live page; whoever has logged in is sent to where they begin."""

from __future__ import annotations

import ipaddress

from quart import Blueprint, Response, current_app, render_template, request

from pulse_server.web import pages
from pulse_server.web.bodies import Problem
from pulse_server.web.described import page
from pulse_server.web.entrance import session
from pulse_server.web.entrance.principal import authenticate
from pulse_server.web.navigation import BEGINS_AT
from pulse_server.web.replies import reply

blueprint = Blueprint("home", __name__)

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def demand_local() -> None:
    """Let only this machine in. Raises Problem: 403."""
    if not is_local():
        raise Problem(403, "the live page shows every tenant: it is for the machine that runs the demo")


def is_local() -> bool:
    """Whether this machine asks, by its address and by the name it asked for.

    The name matters too: a foreign page could make its own host name resolve to loopback and read what we answer.
    """
    name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    return is_loopback(request.remote_addr) and name.lower() in _LOCAL_NAMES


def is_loopback(address: str | None) -> bool:
    """Whether a peer's address is this machine."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


@blueprint.get("/")
@page
async def index() -> str | Response:
    """Who one is and where to begin; the live page for this machine in the demo, until one has logged in."""
    held = await session.current()
    if held is None and _shows_live():
        return await render_template("live.html")
    caller = await authenticate()
    if not pages.wanted():
        return reply({"subject": caller.subject, "role": caller.role, "tenant_id": caller.tenant_id})
    return pages.to(BEGINS_AT[caller.role])


def _shows_live() -> bool:
    return current_app.extensions["services"].config.demo and is_local()
