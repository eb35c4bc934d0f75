"""TLS on a connected socket, for a client that wants to read and write the socket itself."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from pulse_core.errors import TemporaryFailure

if TYPE_CHECKING:
    import socket


async def secured(sock: socket.socket, context: ssl.SSLContext, host: str, timeout_s: float) -> ssl.SSLSocket:
    """Shake hands on a non-blocking socket, which is taken over. The certificate must be that of ``host``.

    :raises TemporaryFailure: no answer in time, no TLS, or a certificate that is not accepted.
    """
    tls: ssl.SSLSocket | None = None
    try:
        tls = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        async with asyncio.timeout(timeout_s):
            while not await _shaken(tls):
                pass
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        (tls or sock).close()
        raise TemporaryFailure(_why(error)) from None
    except BaseException:
        (tls or sock).close()
        raise
    return tls


async def _shaken(tls: ssl.SSLSocket) -> bool:
    """Take the next step, or wait until there can be one; True when all is done."""
    loop = asyncio.get_running_loop()
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        add, remove = loop.add_reader, loop.remove_reader
    except ssl.SSLWantWriteError:
        add, remove = loop.add_writer, loop.remove_writer
    else:
        return True
    ready = asyncio.Event()
    add(tls.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(tls.fileno())
    return False


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the connection broke off'}"
    return "no answer in time" if isinstance(error, TimeoutError) else "the connection broke off"
