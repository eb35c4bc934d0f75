"""The outbound guard: every connection that a tenant or a plugin causes goes through here.

A name is resolved once, every address it has must be permitted, and the connection goes to one of those very
addresses: there is no second look-up that could answer differently (DNS rebinding). TLS checks the original
name.

A place that the operator named himself, host and port, may be anywhere; nothing else at its address is meant by that.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from pulse_core.addresses import Address, is_permitted, literal, parse_networks, shown
from pulse_core.errors import NameUnresolved, OutboundRefused, TemporaryFailure
from pulse_core.outbound.contact import note, note_address
from pulse_core.outbound.names import LookUp, Resolver
from pulse_core.urls import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.outbound.contact import Connection


class Outbound:
    """Guarded name resolution and connections.

    :param allow: networks that may be called although they are not public, as ``10.1.0.0/16``.
    :param named: places that may be called wherever they are, as ``https://login.example.internal:8443``: host and
        port count.
    :param tls: what TLS connections trust; the system's authorities if None.
    :param look_up: replaces the system's name resolution (for tests).
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        named: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        look_up: LookUp | None = None,
    ) -> None:
        self._allow = parse_networks(allow)
        self._named = frozenset(place(url) for url in named)
        self._vouched: dict[tuple[str, int], frozenset[str]] = {}
        self._look_up: LookUp = look_up or Resolver().look_up
        self.tls = tls or ssl.create_default_context()

    async def resolve(self, host: str, port: int) -> list[str]:
        """Look a host up, once, and return its addresses, all of them permitted, the preferred one first.

        :raises OutboundRefused: if any address is not public (and not allowed, and ``host`` and ``port`` not named),
        or ``host`` is no proper host.
        :raises NameUnresolved: if there is no answer.
        """
        host = ascii_host(host)
        written = literal(host)
        if written is not None:
            self.check(written, host, port)
            return [str(written)]
        found = await self._look_up(host, port)
        if not found:
            raise NameUnresolved(f"{shown(host)} has no address")
        for text in found:
            self.check(_parse(text, host), host, port)
        if (where := _place(host, port)) in self._named:
            self._vouched[where] = frozenset(str(_parse(text, host)) for text in found)
        return list(dict.fromkeys(found))

    def check(self, address: Address, host: str, port: int) -> None:
        """Raise OutboundRefused unless ``address`` may be connected to, for ``host`` and ``port``.

        The message names the host as written, never what an internal name resolved to.
        """
        if not is_permitted(address, self._allow) and _place(host, port) not in self._named:
            raise OutboundRefused(f"{shown(host)} is not, or not only, at a public address")

    def check_socket(self, address: Address, port: int) -> None:
        """As :meth:`check`, where it is not known any more for which host :meth:`resolve` gave the address."""
        vouched = any(at == port and str(address) in found for (_, at), found in self._vouched.items())
        if not vouched:
            self.check(address, str(address), port)

    async def open_socket(self, host: str, port: int, *, timeout_s: float = 10.0) -> socket.socket:
        """Return a connected, non-blocking TCP socket, for client libraries that take one.

        The addresses are tried one after the other. Errors as :meth:`connect`.
        """
        where = f"{shown(host)} port {port}"
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self.resolve(host, port)
                return await self._first(addresses, port, timeout_s / len(addresses), where)
        except TimeoutError as error:
            raise TemporaryFailure(f"{where}: no connection within {timeout_s:g} s") from error

    async def open_datagram_socket(self, host: str, port: int, *, timeout_s: float = 10.0) -> socket.socket:
        """Return a non-blocking UDP socket that sends to, and receives from, a checked address of ``host`` alone.

        The first address that this machine has a route to is taken. Errors as :meth:`connect`.
        """
        where = f"{shown(host)} port {port}"
        try:
            async with asyncio.timeout(timeout_s):
                addresses = await self.resolve(host, port)
        except TimeoutError as error:
            raise TemporaryFailure(f"{where}: no address within {timeout_s:g} s") from error
        problem: OSError = OSError("no address")
        for text in addresses:
            try:
                return await _connected(ip_address(text), port, socket.SOCK_DGRAM)
            except OSError as error:
                problem = error
        raise TemporaryFailure(f"{where}: {reason(problem)}") from problem

    async def connect(
        self,
        host: str,
        port: int,
        *,
        tls: bool | ssl.SSLContext = False,
        timeout_s: float = 10.0,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to ``host`` on a checked address. With ``tls``, the certificate must be that of ``host``.

        :raises OutboundRefused: the guard says no. :raises NameUnresolved: there is no such name, for now.
        :raises TemporaryFailure: no connection, or no trustworthy one, within ``timeout_s``.
        """
        where = f"{shown(host)} port {port}"
        started = asyncio.get_running_loop().time()
        sock = await self.open_socket(host, port, timeout_s=timeout_s)
        left_s = timeout_s - (asyncio.get_running_loop().time() - started)
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                reader, writer = await asyncio.open_connection(
                    sock=sock,
                    ssl=(self.tls if tls is True else tls) or None,
                    server_hostname=ascii_host(host).strip("[]").rstrip(".") if tls else None,
                )
        except TimeoutError as error:
            raise TemporaryFailure(f"{where}: no connection within {timeout_s:g} s") from error
        except OSError as error:
            raise TemporaryFailure(f"{where}: {reason(error)}") from error
        note(writer)
        return reader, writer

    def uses(self, connection: Connection) -> None:
        """Say which connection this attempt goes over, if it was kept or secured since it was opened here.

        The ledger then tells its address and its TLS.
        """
        note(connection)

    async def _first(self, addresses: list[str], port: int, share_s: float, where: str) -> socket.socket:
        problem: OSError = OSError("no address")
        for text in addresses:
            try:
                async with asyncio.timeout(share_s):
                    return await _connected(ip_address(text), port)
            except OSError as error:  # TimeoutError is one
                problem = error
        raise TemporaryFailure(f"{where}: {reason(problem)}") from problem


def ascii_host(host: str) -> str:
    """Return the host as DNS and TLS know it (IDNA). Raises OutboundRefused if it can be none."""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise OutboundRefused(f"{shown(host)} is not a host name") from error


def reason(error: OSError) -> str:
    """Say what went wrong with a connection, for people; it never holds an address or a secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the connection broke off'}"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    return os.strerror(error.errno).lower() if error.errno else "the connection broke off"


def _place(host: str, port: int) -> tuple[str, int]:
    """In the notation of :func:`pulse_core.urls.place`."""
    return host.strip("[]").rstrip(".").lower(), port


def _parse(text: str, host: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise OutboundRefused(f"{shown(host)} resolves to something that is no address") from error


async def _connected(address: Address, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        note_address((str(address), port))
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock
