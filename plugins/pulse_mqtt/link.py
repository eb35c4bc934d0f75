"""A TCP or TLS connection that is read only while there is no reason not to."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, cast

from pulse_core.api import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_WRITE_BUFFER = 64 * 1024
_CLOSE_TIMEOUT_S = 5.0


class Pause:
    """Why a connection is not being read: bits of a number. (An IntFlag costs a microsecond at each look.)"""

    NONE = 0

    LOGIN = 1
    """Its token is being checked."""
    WINDOW = 2
    """Too much of it is undecided."""
    ROOM = 4
    """The intake has no room."""
    PACE = 8
    """It is over its rate limit."""
    PEER = 16
    """It leaves our answers unread."""
    SESSION = 32
    """What it has subscribed to is being stored."""
    TURN = 64
    """It has said much at once: others are heard first."""
    LEAVING = 128
    """It is being closed."""


class Link(asyncio.Protocol, ABC):
    """Bytes, pauses, timers and the end. What the bytes mean is for the subclass: :meth:`work` and :meth:`gone`."""

    __slots__ = (
        "_reading",
        "_rest",
        "_task",
        "_timers",
        "_write_timeout_s",
        "closed",
        "ended",
        "ending",
        "heard_s",
        "log",
        "loop",
        "needed",
        "paused",
        "transport",
    )
    transport: asyncio.Transport

    def __init__(self, log: Any, write_timeout_s: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.log = log
        self.heard_s = self.loop.time()
        """When the peer was last heard, or allowed to speak again."""
        self.paused = Pause.NONE
        self.closed = False
        """Lost, or about to be."""
        self.ended = False
        """The peer has said its last word."""
        self.ending: Ending | None = None
        """How it ended, or is about to; None: nobody has said so."""
        self.needed = 0
        """How many bytes :meth:`work` needs at least."""
        self._write_timeout_s = write_timeout_s
        self._rest = bytearray()
        self._reading = True
        self._timers: dict[str, asyncio.TimerHandle] | None = None
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def work(self, data: bytes) -> int:
        """Read what can be read now of ``data``; return where the rest begins."""

    @abstractmethod
    def last_words(self) -> bytes:
        """What is said to a peer before the connection is closed; may be empty."""

    @abstractmethod
    def gone(self) -> None:
        """The connection is lost."""

    @abstractmethod
    def finish(self) -> None:
        """The peer has said its last word and all that can be read is: close once there is nothing to wait for."""

    @abstractmethod
    def failed(self, error: BaseException) -> None:
        """Something of ours raised: nothing of this connection can be acknowledged any more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A stranger is at the door."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one, but does not say so
        self.transport.set_write_buffer_limits(high=_WRITE_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whoever ended it, it is over
        """It is over."""
        self._shut()
        for timer in (self._timers or {}).values():
            timer.cancel()
        self._timers = None
        if self._task is not None:
            self._task.cancel()
        self.gone()

    def data_received(self, data: bytes) -> None:
        """Keep what cannot be read now: at most one packet, and what came with its end."""
        if self.closed:
            return
        self.heard_s = self.loop.time()
        rest = self._rest
        if rest or self.paused:
            rest += data
            if self.paused or len(rest) < self.needed:
                return
            data = bytes(rest)
            rest.clear()
        self._advance(data)

    def eof_received(self) -> bool:
        """The peer sends no more. What it sent is still decided, and acknowledged if it still listens."""
        self.ended = True
        if self.closed or self.transport.get_extra_info("ssl_object") is not None:
            return False
        self._continue()
        return True

    def pause_writing(self) -> None:
        """The peer does not read our answers."""
        self.pause(Pause.PEER)
        self.after("write", self._write_timeout_s, lambda: self.abort("answers left unread", Ending.NOT_READING))

    def resume_writing(self) -> None:
        """It does again."""
        self.cancel("write")
        self.resume(Pause.PEER)

    def pause(self, reason: int) -> None:
        """Stop reading."""
        if self._reading and not self.closed:
            self._reading = False
            self.transport.pause_reading()
        self.paused |= reason

    def resume(self, reason: int) -> None:
        """Take one reason away; read again when it was the last, first of all what was kept."""
        if not self.paused & reason:
            return
        self.paused &= ~reason
        if not self.paused and not self.closed:
            self.heard_s = self.loop.time()
            self.loop.call_soon(self._continue)

    def take_turns(self) -> None:
        """Read on in the next turn of the event loop."""
        self.pause(Pause.TURN)
        self.loop.call_soon(self.resume, Pause.TURN)

    def do(self, reason: int, work: Coroutine[Any, Any, None]) -> None:
        """Do something that takes a while; read nothing more before it is done."""
        self.pause(reason)
        self._task = self.loop.create_task(work)
        self._task.add_done_callback(lambda task: self._done(reason, task))

    def _done(self, reason: int, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.failed(error)
        self.resume(reason)

    def send(self, data: bytes) -> None:
        """Write."""
        if data and not self.closed:
            self.transport.write(data)

    def after(self, name: str, delay_s: float, action: Callable[[], object]) -> None:
        """Do something later, instead of what was to be done under this name."""
        self.cancel(name)
        if self._timers is None:
            self._timers = {}
        self._timers[name] = self.loop.call_later(delay_s, action)

    def cancel(self, name: str) -> None:
        """Don't."""
        if self._timers and (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
            self._timers = self._timers or None

    def bow_out(self, ending: Ending) -> None:
        """Read nothing more; leave once the chunk at hand is submitted and decided."""
        self.ending = self.ending or ending
        self.ended = True
        self.pause(Pause.LEAVING)
        self.loop.call_soon(self.finish)

    def answered(self) -> None:
        """Everything is decided."""
        if self.paused & Pause.LEAVING:
            self.close("done", Ending.LOST)

    def close(self, why: str, ending: Ending) -> None:
        """Send what was written, then close. Who has said first how it ends is believed."""
        if not self.closed:
            self.log.debug("mqtt.closed", why=why)
            self.ending = self.ending or ending
            if words := self.last_words():
                self.transport.write(words)
            self._shut()
            self.transport.close()
            self.after("close", _CLOSE_TIMEOUT_S, self.transport.abort)

    def abort(self, why: str, ending: Ending) -> None:
        """Close at once, whatever is still to be sent."""
        if not self.closed:
            self.log.debug("mqtt.closed", why=why)
            self.ending = self.ending or ending
            self._shut()
        self.transport.abort()

    def _shut(self) -> None:
        self.closed = True
        self.paused |= Pause.LEAVING
        self._rest.clear()

    def _advance(self, data: bytes) -> None:
        read_to = self.work(data)
        if read_to < len(data) and not self.closed:
            self._rest += data[read_to:] if read_to else data

    def _continue(self) -> None:
        """Read what was kept. Only then more is taken from the socket, or it would pile up here."""
        if self.paused:
            return
        if self._rest:
            data = bytes(self._rest)
            self._rest.clear()
            self._advance(data)
        if self.paused:
            return
        if self.ended:
            self.finish()
        elif not self._reading:
            self._reading = True
            self.transport.resume_reading()
