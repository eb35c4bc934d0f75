"""Whom an attempt talked to: noted where a connection is made or used, read by the delivery engine afterwards.

A channel need not know of it. What is noted belongs to the task in which :func:`noting` was entered and to the tasks
that are made within, so attempts side by side do not mix.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from asyncio import BaseTransport, StreamWriter
    from collections.abc import Iterator

    Connection = socket.socket | BaseTransport | StreamWriter


class Contact:
    """The last peer of an attempt: ``address`` is ``203.0.113.7:443``, ``tls`` is ``TLSv1.3, AES256…``; or empty."""

    def __init__(self) -> None:
        self.address = ""
        self.tls = ""


_NOTED: ContextVar[Contact | None] = ContextVar("pulse_contact", default=None)


@contextmanager
def noting() -> Iterator[Contact]:
    """Note whom this block talks to."""
    contact = Contact()
    token = _NOTED.set(contact)
    try:
        yield contact
    finally:
        _NOTED.reset(token)


def note_address(sockaddr: tuple[Any, ...]) -> None:
    """Note an address before it is connected to: a connection that is refused was refused by somebody."""
    if (contact := _NOTED.get()) is not None:
        host, port = str(sockaddr[0]), sockaddr[1]
        contact.address, contact.tls = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), ""


def note(connection: Connection) -> None:
    """Note a connection that stands, with its TLS: one that was just made, or one that was kept."""
    if _NOTED.get() is None:
        return
    if hasattr(connection, "get_extra_info"):
        peer, tls = connection.get_extra_info("peername"), connection.get_extra_info("ssl_object")
    else:
        peer, tls = _peer_of(connection), connection if isinstance(connection, ssl.SSLSocket) else None
    if peer:
        note_address(peer)
    if tls is not None:
        note_tls(tls)


def note_tls(tls: ssl.SSLObject | ssl.SSLSocket) -> None:
    """Note what TLS agreed on."""
    if (contact := _NOTED.get()) is not None:
        cipher = tls.cipher()
        contact.tls = ", ".join(filter(None, (tls.version(), cipher[0] if cipher else None)))


def _peer_of(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None
