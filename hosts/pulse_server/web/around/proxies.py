"""Whose address it is when a proxy of the operator's own stands in between: limits and the audit log depend on it."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    Scope = MutableMapping[str, Any]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOKED_AT = 20
"""So many proxies in a row nobody has."""
_WITH_PORT = re.compile(r"\[(.+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


class Proxied:
    """An ASGI app behind proxies: ``app`` sees the caller's address as its client.

    Every proxy appends whom it heard to X-Forwarded-For; what stands before that is what the caller made up. So we read
    from the right, while it was one of ours who said so.

    :param trusted: networks of the operator's own proxies; none: the peer is the caller, whatever it says.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = [ipaddress.ip_network(each) for each in trusted]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass one request on."""
        if self._trusted and scope["type"] == "http" and scope.get("client"):
            peer = scope["client"][0]
            if (caller := self.caller(peer, _forwarded_for(scope))) != peer:
                scope = {**scope, "client": (caller, 0)}
        await self._app(scope, receive, send)

    def caller(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The nearest address that is no proxy of ours; where one of ours says nonsense, that one."""
        found = peer
        for said in reversed(forwarded_for[-_LOOKED_AT:]):
            address = _address(found)
            if address is None or not any(address in network for network in self._trusted):
                break
            before = _address(said)
            if before is None:
                break
            found = str(before)
        return found


def _forwarded_for(scope: Scope) -> list[str]:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    return [each.strip() for each in ",".join(lines).split(",")] if lines else []


def _address(text: str) -> Address | None:
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
