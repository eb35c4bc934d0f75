"""uvicorn's HTTP protocol, with bounds where it has none: how long and how large a request's head may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_WITHIN_S = 15.0
"""From the first byte of a request (or the connection's start) to the end of its headers."""
MAX_HEAD_BYTES = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection whose request head never ends. Bodies are the applications' to bound."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._head_complete()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Another head begins."""
        self._await_head()
        super().on_message_begin()
        # For an application that gives a reader up: what waits to be read is not waited for.
        self.scope["extensions"] = {"pulse.abort": self.transport.abort}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_complete()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, and look how much of it the head has taken so far."""
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._give_up()

    def _await_head(self) -> None:
        self._head_complete()
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _head_complete(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_complete()
        self.transport.close()
