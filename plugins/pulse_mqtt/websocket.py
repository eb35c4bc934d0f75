"""MQTT over WebSocket (MQTT 3.1.1 and 5.0, chapter 6): an ASGI app, and a transport that our connections cannot tell
from TCP.

Control packets need not begin or end where a WebSocket message does [MQTT-6.0.0-2], so messages are read as one stream.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from pulse_core.api import Intake

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOUNT = "/mqtt"
SUBPROTOCOL = "mqtt"
_HIGH_WATER = 64 * 1024
_NORMAL = 1000
_NOT_BINARY = 1003


class WebSocketApp:
    """Serves ``/mqtt`` on the device HTTP port. Cookies and ``Origin`` are not looked at: the token is what counts."""

    takes_websockets = True

    def __init__(self, intake: Intake, protocol: Callable[[], asyncio.Protocol]) -> None:
        """``protocol`` makes the object that serves one connection."""
        self._intake = intake
        self._protocol = protocol

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one WebSocket, or tell an HTTP client that this is one."""
        found = scope["path"].rstrip("/") == MOUNT
        if scope["type"] == "http":
            if found:
                await _answer(send, "http.response", 426, b"MQTT over WebSocket\n", (b"upgrade", b"websocket"))
            else:
                await _answer(send, "http.response", 404, b"there is nothing at this path\n")
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            if not found:
                await _refuse(scope, send, 404, b"there is nothing at this path\n")
            elif SUBPROTOCOL not in scope.get("subprotocols", ()):  # [MQTT-6.0.0-3]
                await _refuse(scope, send, 400, b'the WebSocket subprotocol "mqtt" was not offered\n')
            elif self._intake.stopping.is_set():
                await _refuse(scope, send, 503, b"the platform stops\n")
            else:
                await self._serve(scope, receive, send)

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:  # [MQTT-6.0.0-4]
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "pulse.pieces": True})
        except OSError:
            return
        await WebSocketTransport(scope, receive, send, self._protocol()).serve()


class WebSocketTransport(asyncio.Transport):
    """One accepted WebSocket, as :class:`asyncio.Transport` describes transports.

    Nothing is received while reading is paused; at most one message waits then. What is written waits here while the
    server has no room for it, and the protocol is told as usual.
    """

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, protocol: asyncio.BaseProtocol
    ) -> None:
        super().__init__({"peername": scope.get("client"), "sockname": scope.get("server")})
        self._receive = receive
        self._send = send
        self._protocol = protocol
        self._abort_server: Callable[[], None] | None = scope.get("extensions", {}).get("pulse.abort")
        self._task: asyncio.Task[Any] | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._awaits_peer = False
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._sender: asyncio.Task[None] | None = None
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._writing_paused = False
        self._closing = False
        self._lost = False
        self._code = _NORMAL

    async def serve(self) -> None:
        """Carry bytes both ways until one side has had enough."""
        self._task = asyncio.current_task()
        error: Exception | None = None
        self._protocol.connection_made(self)
        try:
            await self._read()
            if not self._lost:
                await self._send_the_rest()
        except asyncio.CancelledError:
            pass  # by abort(), or by a server that stops; either way this task ends here
        except OSError as lost:
            error = lost
        finally:
            self._closing = self._lost = True
            if self._sender is not None:
                self._sender.cancel()
            self._forget_unsent()
            self._protocol.connection_lost(error)

    # The transport, reading

    def pause_reading(self) -> None:
        """Ask the server for nothing more."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Ask on."""
        self._may_read.set()

    def is_reading(self) -> bool:
        """Whether the peer is heard."""
        return self._may_read.is_set() and not self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Serve somebody else from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Whom it serves."""
        return self._protocol

    # The transport, writing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As :meth:`asyncio.WriteTransport.set_write_buffer_limits`."""
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Bytes that the server has not taken yet."""
        return self._unsent_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; all that is written in one turn of the loop goes as one message."""
        if self._closing or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_unsent())
            self._sender.add_done_callback(self._sent)
        if self._unsent_bytes > self._high:
            self._pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send them joined."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """A WebSocket cannot be closed by halves."""
        return False

    def write_eof(self) -> None:
        """Refused, as :meth:`asyncio.WriteTransport.write_eof` has it where :meth:`can_write_eof` says no."""
        raise NotImplementedError("a WebSocket cannot be closed by halves")

    # The transport, ending

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def close(self) -> None:
        """Read no more; send what was written, and the closing handshake."""
        if not self._closing:
            self._closing = True
            self._wake()

    def abort(self) -> None:
        """End it at once."""
        self._closing = True
        if self._lost:
            return
        self._lost = True
        self._forget_unsent()
        if self._abort_server is not None:
            self._abort_server()
        if self._sender is not None:
            self._sender.cancel()
        self._wake()

    def _wake(self) -> None:
        """Let :meth:`serve` see that reading is over."""
        self._may_read.set()
        if self._awaits_peer and self._task is not None:
            self._task.cancel()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0

    async def _read(self) -> None:
        while not self._closing:
            message = await self._next()
            if message is None:
                return
            await self._may_read.wait()
            if self._closing:
                return
            if message["type"] != "websocket.receive":
                self._lost = True
                return
            data = message.get("bytes")
            if data is None:  # [MQTT-6.0.0-1]
                self._code = _NOT_BINARY
                self._closing = True
            elif data:
                self._protocol.data_received(data)  # type: ignore[attr-defined] # a Protocol, as every caller has it

    async def _next(self) -> MutableMapping[str, Any] | None:
        """The next message; None when we have closed meanwhile."""
        await self._may_read.wait()
        if self._closing:
            return None
        self._awaits_peer = True
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self._closing and not self._lost and self._task is not None:
                self._task.uncancel()
                return None
            raise
        finally:
            self._awaits_peer = False

    def _pause_writing(self) -> None:
        if not self._writing_paused and not self._lost:
            self._writing_paused = True
            self._protocol.pause_writing()

    async def _send_unsent(self) -> None:
        """A server that does not take a message at once is over its own limit, so we are, however little it is."""
        loop = asyncio.get_running_loop()
        while self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            unless_taken = loop.call_soon(self._pause_writing)
            try:
                await self._send({"type": "websocket.send", "bytes": data})
            finally:
                unless_taken.cancel()
            self._unsent_bytes -= len(data)
            if self._writing_paused and self._unsent_bytes <= self._low:
                self._writing_paused = False
                self._protocol.resume_writing()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sender = None
        if task.cancelled():
            return
        if task.exception() is not None:
            self.abort()
        elif self._unsent and not self._lost:
            self._sender = asyncio.get_running_loop().create_task(self._send_unsent())
            self._sender.add_done_callback(self._sent)

    async def _send_the_rest(self) -> None:
        """What was written before the close, then the close; :meth:`abort` cuts it short."""
        self._awaits_peer = True
        try:
            while self._sender is not None:
                await asyncio.wait((self._sender,))
            if not self._lost:
                await self._send({"type": "websocket.close", "code": self._code})
        finally:
            self._awaits_peer = False


async def _refuse(scope: MutableMapping[str, Any], send: Send, status: int, why: bytes) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await _answer(send, "websocket.http.response", status, why)
    else:
        await send({"type": "websocket.close"})


async def _answer(send: Send, kind: str, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    fixed = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        *headers,
    ]
    await send({"type": f"{kind}.start", "status": status, "headers": fixed})
    await send({"type": f"{kind}.body", "body": body})
