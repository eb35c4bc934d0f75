"""``/``: the live page in the demo, seen from this machine; elsewhere a plain word that there is none."""

from __future__ import annotations

import ipaddress

from quart import Blueprint, Response, current_app, render_template, request

from pulse_server.web.bodies import Problem
from pulse_server.web.described import page

blueprint = Blueprint("home", __name__)

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def demand_local() -> None:
    """Let only this machine in, by its address and by the name it asked for.

    The name matters too: a foreign page could make its own host name resolve to loopback and read what we answer.
    """
    name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    if not is_loopback(request.remote_addr) or name.lower() not in _LOCAL_NAMES:
        raise Problem(403, "the live page is for the machine that runs the demo, until there are logins")


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
    """The live page, or why there is none."""
    if not current_app.extensions["services"].config.demo:
        text = "OpsConductor-Pulse runs. There are no pages without a login yet; use the admin API under /api/admin.\n"
        return Response(text, status=403, content_type="text/plain; charset=utf-8")
    demand_local()
    return await render_template("live.html")
