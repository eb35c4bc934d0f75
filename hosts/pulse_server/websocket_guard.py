"""uvicorn's WebSocket protocol, with bounds where it has none: what a peer may make us hold, and for how long."""

from __future__ import annotations

import socket
from itertools import islice
from typing import TYPE_CHECKING, Any

import structlog
import wsproto
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto import events

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

log = structlog.get_logger(__name__)

EVENTS_A_TURN = 64
"""Frames (or parts of frames) that are handled at once; a chunk may hold 40,000 empty ones."""
CLOSE_WITHIN_S = 5.0
"""From the application's end to the connection's: a peer may leave our last words unread."""


class _Sparing(wsproto.WSConnection):
    """Hands events out a few at a time."""

    more = False
    """There may be more of them."""

    def events(self) -> Generator[events.Event, None, None]:
        """The next few."""
        handed_out = 0
        for event in islice(self.connection.events() if self.connection else super().events(), EVENTS_A_TURN):
            handed_out += 1
            yield event
        self.more = handed_out == EVENTS_A_TURN

    def forget_handshake(self) -> None:
        """Let go of a parser of HTTP that nobody looks at any more: 2 KB a connection."""
        if self.connection is not None:
            del self.handshake


class GuardedWebSocket(WSProtocol):
    """Reads no more from a peer than the application takes from us and the peer takes from us.

    An application that accepts with ``"pulse.pieces": True`` is given binary and text messages in the pieces in which
    they come, so that nobody has to hold a whole one; its scope has the extension ``pulse.abort``, a function that
    ends the connection whatever is still to be sent. When the server stops, an application that has accepted ends its
    connections itself.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _Sparing = _Sparing(wsproto.ConnectionType.SERVER)
        self._pieces = False
        self._turn_comes: asyncio.Handle | None = None
        self._last_call: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Have the system see to it that a silent peer is still there."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        for handle in (self._turn_comes, self._last_call):
            if handle is not None:
                handle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what breaks the parser breaks the connection and nothing else."""
        self._carefully(lambda: super(GuardedWebSocket, self).data_received(data))

    def handle_events(self) -> None:
        """Handle a few, then see whether there is reason to go on."""
        super().handle_events()
        self._go_on()

    def handle_connect(self, event: events.Request) -> None:
        """Offer what this server can do besides."""
        super().handle_connect(event)
        self.scope["extensions"] |= {"pulse.abort": self.transport.abort}  # type: ignore[dict-item]

    def handle_message(self, event: events.TextMessage | events.BytesMessage) -> None:
        """Pass pieces on to those that want them."""
        if not self._pieces:
            super().handle_message(event)
        elif isinstance(event, events.TextMessage):
            self.queue.put_nowait({"type": "websocket.receive", "text": event.data})
        elif event.data:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": bytes(event.data)})

    def pause_writing(self) -> None:
        """A peer that does not read is not read: pings would be answered into a heap."""
        super().pause_writing()
        self._go_on()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._go_on()

    def shutdown(self) -> None:
        """The server stops. An open connection is the application's to end, because it may owe answers."""
        if not self.handshake_complete or self.close_sent:
            super().shutdown()

    async def run_asgi(self) -> None:
        """Serve the application; see to it that the connection does not outlast it for long."""
        await super().run_asgi()
        if not self.disconnected:
            self._last_call = self.loop.call_later(CLOSE_WITHIN_S, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Send, and return once the peer takes it: we read no more of it before, so the application has to know."""
        if message["type"] == "websocket.accept":
            self._pieces = bool(message.get("pulse.pieces"))
        await super().send(message)
        if message["type"] == "websocket.send":
            await self.writable.wait()
        elif message["type"] == "websocket.accept":
            self.conn.forget_handshake()

    async def receive(self) -> Any:
        """The next message; more is read when it was the last."""
        message = await self.queue.get()
        if self.queue.empty():
            self._go_on()
        return message

    def _go_on(self) -> None:
        """Read on, handle what has been read already, or let both wait."""
        if self.disconnected or self.transport.is_closing():
            return
        waits = not self.close_sent and (not self.writable.is_set() or not self.queue.empty())
        pauses = waits or self.conn.more
        if pauses != self.read_paused:
            self.read_paused = pauses
            if pauses:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
        if self.conn.more and not waits and self._turn_comes is None:
            self._turn_comes = self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_comes = None
        self._carefully(self.handle_events)

    def _carefully(self, parse: Callable[[], None]) -> None:
        try:
            parse()
        except Exception as error:  # noqa: BLE001 - a Host that is no IDNA, say, raises what nobody announced
            log.debug("websocket.unreadable", error=repr(error))
            self.transport.abort()
