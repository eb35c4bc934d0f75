"""uvicorn inside a process that runs other things too: sockets of our own, no signal handlers, orderly stop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn

from pulse_core.errors import ConfigError
from pulse_server.http_guard import GuardedProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulse_core.config import Listen
    from pulse_server.websocket_guard import GuardedWebSocket

_BACKLOG = 2048
_LONGEST_MESSAGE = 1024 * 1024


def bind(listen: Listen, what: str) -> socket.socket:
    """A listening socket.

    :raises ConfigError: when the address is taken or not ours; it names ``what`` should have listened there.
    """
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((listen.host, listen.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(f"{what}: cannot listen on {listen.host}:{listen.port}: {error.strerror}") from error
    return sock


def is_free(listen: Listen) -> bool:
    """Whether somebody could listen there now."""
    try:
        bind(listen, "").close()
    except ConfigError:
        return False
    return True


def url_of(sock: socket.socket) -> str:
    """Where people reach a bound socket: any-address becomes loopback."""
    host, port = sock.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Quiet(uvicorn.Server):
    """uvicorn without its signal handlers: the role decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """One ASGI app on one socket."""

    def __init__(
        self,
        app: Any,
        sock: socket.socket,
        *,
        drain_s: int = 5,
        websocket: type[GuardedWebSocket] | None = None,
    ) -> None:
        """``drain_s``: how long requests in flight may take once we stop; ``websocket``: how WebSockets are served."""
        self.url = url_of(sock)
        self._sock = sock
        self._server = _Quiet(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws=websocket or "none",
                ws_max_size=_LONGEST_MESSAGE,
                ws_ping_interval=None,  # a peer that is over its rate is not read, and so could not answer
                ws_per_message_deflate=False,  # a chunk of 256 KiB could become 256 MiB
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=drain_s,
                proxy_headers=False,
                backlog=_BACKLOG,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once requests are answered."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._sock]), name=f"http {self.url}")
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise ConfigError(f"{self.url}: the HTTP server did not start")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop accepting, let requests in flight finish, close."""
        self._server.should_exit = True
        if self._serving is not None:
            with suppress(asyncio.CancelledError):
                await self._serving
        self._sock.close()
